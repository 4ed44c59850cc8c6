//! A throw-away cluster, run with the server binaries on this machine.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, io};

use super::{Postgres, Provider};
use crate::guardian::Guardian;
use crate::{Result, cargo};

/// A free port can be taken by somebody else before the server has it.
const TRIES: u32 = 3;

/// Quick and forgetful, which is what a test wants; open to this machine only.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
";

/// The server binaries found on this machine.
pub(super) struct Binaries;

impl Provider for Binaries {
    fn name(&self) -> &'static str {
        "server binaries"
    }

    fn provide(&self) -> Result<(Postgres, String)> {
        let bin = find_binaries().ok_or("initdb, pg_ctl and postgres are not on this machine")?;
        start(&bin)
    }
}

fn find_binaries() -> Option<PathBuf> {
    cargo::directories_on_path().into_iter().chain(usual_places()).find(|dir| has_binaries(dir))
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

/// Makes and starts a cluster with the programs in `bin`.
pub(super) fn start(bin: &Path) -> Result<(Postgres, String)> {
    let user = User::for_server()?;
    let home = new_directory(user.as_ref())?;
    // From here on the guardian removes it all, also if the next step fails or is interrupted.
    let guardian = Guardian::start(
        "if [ -f \"$2/data/postmaster.pid\" ]; then \"$1/pg_ctl\" -D \"$2/data\" -m immediate stop >/dev/null; fi\n\
         rm -rf \"$2\"",
        [bin, &home],
        |shell| User::become_in(user.as_ref(), shell),
    )?;
    let data = home.join("data");
    let server_command = |program: &str| {
        let mut command = cargo::command(bin.join(program));
        command.current_dir(&home).arg("-D").arg(&data);
        User::become_in(user.as_ref(), &mut command);
        command
    };
    let options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"];
    cargo::quiet(server_command("initdb").args(options))?;
    OpenOptions::new().append(true).open(data.join("postgresql.conf"))?.write_all(SETTINGS.as_bytes())?;
    let port = start_server(&home, server_command)?;
    let as_whom = user.map(|user| format!(", as user {}", user.name)).unwrap_or_default();
    let what = format!("started a throw-away cluster on port {port} with {}{as_whom}", bin.display());
    Ok((Postgres::started(port, guardian), what))
}

fn start_server(home: &Path, server_command: impl Fn(&str) -> Command) -> Result<u16> {
    let log = home.join("log");
    let mut tries = 0;
    loop {
        tries += 1;
        let port = free_port()?;
        let mut pg_ctl = server_command("pg_ctl");
        // `-w` waits until the server accepts connections. Its output goes nowhere, because the server inherits it and
        // would keep a pipe open for as long as it lives.
        pg_ctl.arg("-l").arg(&log).args(["-w", "-t", "60", "-o", &format!("-p {port}"), "start"]);
        let started = pg_ctl.stdin(process::Stdio::null()).stdout(process::Stdio::null()).status()?;
        if started.success() {
            return Ok(port);
        }
        if tries == TRIES {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it wrote no log");
            return Err(format!("the server does not start: {last}").into());
        }
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn new_directory(owner: Option<&User>) -> Result<PathBuf> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let path = env::temp_dir().join(format!("fetch-etl-postgres-{}-{nanos}", process::id()));
    DirBuilder::new().mode(0o700).create(&path)?;
    if let Some(owner) = owner {
        chown(&path, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(path)
}

/// Somebody other than root, as whom the server agrees to run.
struct User {
    name: &'static str,
    uid: u32,
    gid: u32,
}

impl User {
    /// Nobody else if we are not root.
    fn for_server() -> Result<Option<Self>> {
        if !is_root()? {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(Self::named)
            .map(Some)
            .ok_or_else(|| "we are root, and there is no user postgres or nobody to run the server as".into())
    }

    fn named(name: &'static str) -> Option<Self> {
        Some(Self { name, uid: id(&["-u", name]).ok()?, gid: id(&["-g", name]).ok()? })
    }

    fn become_in(user: Option<&Self>, command: &mut Command) {
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
    }
}

/// Whether we are root.
pub(super) fn is_root() -> Result<bool> {
    Ok(id(&["-u"])? == 0)
}

fn id(args: &[&str]) -> Result<u32> {
    Ok(cargo::quiet(Command::new("id").args(args))?.trim().parse()?)
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
    fn a_directory_without_the_server_does_not_count() {
        let dir = new_directory(None).unwrap();
        for program in ["initdb", "pg_ctl"] {
            fs::write(dir.join(program), "").unwrap();
        }
        assert!(!has_binaries(&dir));
        fs::write(dir.join("postgres"), "").unwrap();
        assert!(has_binaries(&dir));
        fs::remove_dir_all(dir).unwrap();
    }
}
