//! The file: where it is, and that nobody else can read it.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fetch_etl_core::{ErrorClass, SinkError};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};

use crate::SqliteSinkConfig;
use crate::error::sink_error;

/// How to open the file of a configuration.
pub(crate) fn options(config: &SqliteSinkConfig) -> Result<SqliteConnectOptions, SinkError> {
    let url = &config.database_url;
    if url.contains(":memory:") || url.contains("mode=memory") {
        let text = "an SQLite database in memory keeps nothing: name a file, sqlite://path";
        return Err(SinkError::new(ErrorClass::Fatal, text));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| sink_error(&error))?;
    Ok(options
        // The file is made by `create`, with its permissions.
        .create_if_missing(false)
        .busy_timeout(config.busy_timeout)
        // A commit is on the disk when it returns. (It is SQLite's default, unless it was compiled with another one.)
        .synchronous(SqliteSynchronous::Full)
        // What is deleted, above all a sealed body that is given up, is overwritten instead of left in free pages.
        .pragma("secure_delete", "ON")
        .disable_statement_logging())
}

/// Makes the file, for its owner only, unless it is there. SQLite gives the files beside it the same permissions.
pub(crate) fn create(path: &Path) -> Result<(), SinkError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(unusable(path, error.kind())),
    }
}

/// Checks that the file is there, or could be made.
pub(crate) fn check(path: &Path) -> Result<(), SinkError> {
    let directory = match path.parent() {
        Some(directory) if directory != Path::new("") => directory.to_owned(),
        _ => PathBuf::from("."),
    };
    match (path.metadata(), directory.metadata()) {
        (Ok(file), _) if file.is_dir() => Err(unusable(path, io::ErrorKind::IsADirectory)),
        (Ok(_), _) | (Err(_), Ok(_)) => Ok(()),
        (Err(_), Err(error)) => Err(unusable(&directory, error.kind())),
    }
}

/// A path is no secret, and whoever mistyped it wants to see it.
fn unusable(path: &Path, kind: io::ErrorKind) -> SinkError {
    let why = match kind {
        io::ErrorKind::NotFound => "there is no such file or directory".to_owned(),
        kind => kind.to_string(),
    };
    SinkError::new(ErrorClass::Fatal, format!("cannot use {}: {why}", path.display()))
}
