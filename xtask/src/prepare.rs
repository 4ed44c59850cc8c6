//! `cargo xtask prepare`: what sqlx's macros know about our SQL, asked of real databases and kept in `.sqlx`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;
use std::{env, io};

use fetch_etl_scratch_postgres::Guardian;

use crate::postgres::{self, Choice, Postgres};
use crate::{Result, SCHEMA_URL, cargo, say};

/// A crate whose SQL is checked when it is compiled.
struct Checked {
    package: &'static str,
    /// Its `database-url-var`, see its sqlx.toml.
    url_variable: &'static str,
    migrations: &'static str,
}

const POSTGRES: Checked = Checked {
    package: "fetch-etl-postgres",
    url_variable: "FETCH_ETL_POSTGRES_DATABASE_URL",
    migrations: "migrations/postgres",
};

const SQLITE: Checked = Checked {
    package: "fetch-etl-sqlite",
    url_variable: "FETCH_ETL_SQLITE_DATABASE_URL",
    migrations: "migrations/sqlite",
};

/// Query files by name.
type Queries = BTreeMap<String, Vec<u8>>;

/// Refreshes `.sqlx` of both crates, or only compares.
pub(crate) fn run(choice: Choice, check: bool) -> Result<()> {
    let server = postgres::provide(choice)?;
    let scratch = Scratch::new(&server)?;
    let mut stale = Vec::new();
    for (checked, url) in [(POSTGRES, scratch.postgres_url.clone()), (SQLITE, scratch.sqlite_url())] {
        scratch.create(&url, checked.migrations)?;
        let fresh = describe(&checked, &url, &scratch.directory.join(checked.package))?;
        let directory = cargo::root().join("crates").join(checked.package).join(".sqlx");
        let differences = differences(&read(&directory)?, &fresh);
        if check {
            stale.extend(differences.iter().map(|line| format!("{}: {line}", checked.package)));
        } else {
            replace(&directory, &fresh)?;
        }
        say("prepare", format!("{}: {} queries, {} differ", checked.package, fresh.len(), differences.len()));
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("run `cargo xtask prepare` and commit .sqlx:\n  {}", stale.join("\n  ")).into())
}

/// Compiles the crate against a live database; sqlx writes what it learns into `into`.
fn describe(checked: &Checked, url: &str, into: &Path) -> Result<Queries> {
    fs::create_dir_all(into)?;
    // Cargo does not know that the macros look at the environment, so the crate has to look changed.
    let lib = cargo::root().join("crates").join(checked.package).join("src/lib.rs");
    File::options().append(true).open(lib)?.set_modified(SystemTime::now())?;
    let mut command = cargo::cargo();
    command.args(["check", "--quiet", "--all-features", "--package", checked.package]);
    command.env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", into).env(checked.url_variable, url);
    cargo::run(&mut command)?;
    read(into)
}

fn read(directory: &Path) -> Result<Queries> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Queries::new()),
        Err(error) => return Err(error.into()),
    };
    let mut queries = Queries::new();
    for entry in entries {
        let entry = entry?;
        queries.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(queries)
}

fn replace(directory: &Path, fresh: &Queries) -> Result<()> {
    fs::create_dir_all(directory)?;
    for name in read(directory)?.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(directory.join(name))?;
    }
    for (name, content) in fresh {
        fs::write(directory.join(name), content)?;
    }
    Ok(())
}

fn differences(committed: &Queries, fresh: &Queries) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, content) in fresh {
        match committed.get(name) {
            None => lines.push(format!("{name} is missing")),
            Some(old) if old != content => lines.push(format!("{name} is out of date")),
            Some(_) => {}
        }
    }
    lines.extend(
        committed
            .keys()
            .filter(|name| !fresh.contains_key(*name))
            .map(|name| format!("{name} is not used any more")),
    );
    lines
}

/// The same server and parameters, another database.
fn with_database(url: &str, name: &str) -> Result<String> {
    let (before_query, query) =
        url.split_once('?').map_or((url, String::new()), |(before, query)| (before, format!("?{query}")));
    let (scheme, rest) = before_query.split_once("://").ok_or("the Postgres URL has no scheme")?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    Ok(format!("{scheme}://{authority}/{name}{query}"))
}

/// What is there while we work; the guardian removes it.
struct Scratch {
    schema: PathBuf,
    directory: PathBuf,
    postgres_url: String,
    _guardian: Guardian,
}

impl Scratch {
    fn new(server: &Postgres) -> Result<Self> {
        let schema = build_schema()?;
        let directory = env::temp_dir().join(format!("fetch-etl-prepare-{}", process::id()));
        let database = format!("fetch_etl_prepare_{}", process::id());
        let postgres_url = with_database(&server.url, &database)?;
        let arguments = [schema.as_os_str(), database.as_ref(), directory.as_ref()];
        let clean_up = "\"$1\" drop-by-prefix \"$2\" 2>/dev/null; rm -rf \"$3\"";
        let guardian = Guardian::start(clean_up, arguments, |shell| {
            shell.env(SCHEMA_URL, &server.url);
        })?;
        fs::create_dir(&directory)?;
        Ok(Self { schema, directory, postgres_url, _guardian: guardian })
    }

    fn sqlite_url(&self) -> String {
        format!("sqlite://{}", self.directory.join("scratch.sqlite").display())
    }

    fn create(&self, url: &str, migrations: &str) -> Result<()> {
        cargo::run(cargo::command(&self.schema).args(["create", migrations]).env(SCHEMA_URL, url))
    }
}

/// Only xtask's own package is compiled for this: ours may not compile before their `.sqlx` is refreshed.
fn build_schema() -> Result<PathBuf> {
    let mut command = cargo::cargo();
    command.args(["build", "--package", "xtask", "--features", "schema", "--bin", "schema"]);
    command.arg("--message-format=json-render-diagnostics");
    let executables = cargo::executables(&cargo::stdout_of(&mut command)?);
    let built = executables.into_iter().next().ok_or("cargo did not build xtask's binary `schema`")?;
    Ok(built.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_replaced_and_nothing_else() {
        for (url, expected) in [
            ("postgres://u:p@h:1/postgres", "postgres://u:p@h:1/x"),
            ("postgres://h", "postgres://h/x"),
            ("postgres://h/a?sslmode=require&host=/run", "postgres://h/x?sslmode=require&host=/run"),
        ] {
            assert_eq!(with_database(url, "x").unwrap(), expected);
        }
        assert!(with_database("h/a", "x").is_err());
    }

    #[test]
    fn what_differs_is_named() {
        let queries = |pairs: &[(&str, &str)]| -> Queries {
            pairs.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect()
        };
        let committed = queries(&[("same", "1"), ("old", "1"), ("gone", "1")]);
        let fresh = queries(&[("same", "1"), ("old", "2"), ("new", "1")]);
        assert_eq!(
            differences(&committed, &fresh),
            ["new is missing", "old is out of date", "gone is not used any more"]
        );
        assert_eq!(differences(&fresh, &fresh), Vec::<String>::new());
    }
}
