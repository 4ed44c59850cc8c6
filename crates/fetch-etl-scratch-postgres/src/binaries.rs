//! Where the server's programs are.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The directory with the programs of a Postgres server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// Those on PATH, else those of the newest version where packages put them.
    pub fn find() -> Option<Self> {
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
        [on_path, usual_places()].into_iter().flatten().find(|dir| has_binaries(dir)).map(Self)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.0
    }

    /// One of the programs, such as `pg_dump`: in the directory, else where its `postgres` is a link to, else whatever is on PATH,
    /// for distributions link some of them elsewhere, and not all.
    pub fn program(&self, name: &str) -> PathBuf {
        let real = fs::canonicalize(self.0.join("postgres")).ok();
        let beside_real = real.as_deref().and_then(Path::parent).map(|dir| dir.join(name));
        let places = [Some(self.0.join(name)), beside_real];
        places.into_iter().flatten().find(|path| path.is_file()).unwrap_or_else(|| name.into())
    }
}

fn has_binaries(dir: &Path) -> bool {
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| dir.join(program).is_file())
}

/// Packages keep the server's programs out of PATH: Debian, Red Hat, a build from source, Homebrew, Postgres.app.
fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    places.extend(versions_in("/usr/lib/postgresql", "", "bin"));
    places.extend(versions_in("/usr", "pgsql-", "bin"));
    places.push("/usr/local/pgsql/bin".into());
    places.extend(versions_in("/opt/homebrew/opt", "postgresql", "bin"));
    places.extend(versions_in("/usr/local/opt", "postgresql", "bin"));
    places.push("/Applications/Postgres.app/Contents/Versions/latest/bin".into());
    places
}

/// `parent/prefix*/child`, the newest version first.
fn versions_in(parent: &str, prefix: &str, child: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort_by_key(|name| std::cmp::Reverse(version(name)));
    names.into_iter().map(|name| Path::new(parent).join(name).join(child)).collect()
}

/// The digits of `17`, `pgsql-17` or `postgresql@17`, as a number; `9.6` is older than `10`.
fn version(name: &str) -> (u32, u32) {
    let numbers = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut parts = numbers.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let mut names = ["9.6", "17", "10", "pgsql-16", "postgresql@18", "postgresql"];
        names.sort_by_key(|name| std::cmp::Reverse(version(name)));
        assert_eq!(names, ["postgresql@18", "17", "pgsql-16", "10", "9.6", "postgresql"]);
    }

    #[test]
    fn a_directory_counts_with_all_of_the_server_and_may_hold_links() {
        let dir = env::temp_dir().join(format!("fetch-etl-binaries-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        for program in ["initdb", "pg_ctl"] {
            fs::write(dir.join(program), "").unwrap();
        }
        assert!(!has_binaries(&dir));
        // A link, as some distributions make them, to where there are more.
        let real = dir.join("real");
        fs::create_dir(&real).unwrap();
        for program in ["postgres", "pg_dump"] {
            fs::write(real.join(program), "").unwrap();
        }
        std::os::unix::fs::symlink(real.join("postgres"), dir.join("postgres")).unwrap();
        assert!(has_binaries(&dir));
        let binaries = Binaries(dir.clone());
        assert_eq!(binaries.program("initdb"), dir.join("initdb"));
        assert_eq!(binaries.program("pg_dump"), fs::canonicalize(&real).unwrap().join("pg_dump"));
        assert_eq!(binaries.program("pg_dumpall"), Path::new("pg_dumpall"));
        fs::remove_dir_all(dir).unwrap();
    }
}
