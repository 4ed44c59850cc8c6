//! What Postgres's errors mean, told without the values that Postgres puts into them.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use fetch_etl_core::{ErrorClass, SinkCode, SinkError};
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgDatabaseError;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The ledger has no partition for a row's day: somebody dropped it, or the day changed under us.
    MissingPartition(SinkError),
    /// Anything else.
    Other(SinkError),
}

impl Failure {
    /// The same failure of a statement that stores no rows, so that none can be to blame.
    pub(crate) fn without_rows(self) -> SinkError {
        let error = SinkError::from(self);
        if error.class() != ErrorClass::BadRow {
            return error;
        }
        SinkError::new(ErrorClass::Fatal, error.to_string()).with_code(error.code())
    }
}

impl From<Failure> for SinkError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::MissingPartition(error) | Failure::Other(error) => error,
        }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let code = sqlstate(&error).and_then(SinkCode::new);
        if is_missing_partition(&error) {
            return Self::MissingPartition(
                SinkError::new(ErrorClass::Retryable, "the ledger's partition is gone").with_code(code),
            );
        }
        Self::Other(SinkError::new(class_of(&error), text_of(&error)).with_code(code))
    }
}

/// No answer within the time that a statement has.
pub(crate) fn no_answer(waited: Duration) -> Failure {
    let text = format!("no answer from Postgres within {} s", waited.as_secs_f32());
    Failure::Other(SinkError::new(ErrorClass::Retryable, text))
}

/// Why the migrations were not applied.
pub(crate) fn migrate_error(error: MigrateError) -> SinkError {
    match error {
        MigrateError::Execute(error) => Failure::from(error).without_rows(),
        MigrateError::ExecuteMigration(error, version) => {
            let error = Failure::from(error).without_rows();
            SinkError::new(error.class(), format!("migration {version}: {error}")).with_code(error.code())
        }
        MigrateError::VersionMissing(version) => fatal(format!(
            "the database has migration {version}, which this version does not know: a newer version migrated it"
        )),
        MigrateError::VersionMismatch(version) => fatal(format!(
            "migration {version} is another one in the database: it was changed after it had been applied"
        )),
        // The others concern migrations read from files, and databases whose DDL has no transactions.
        _ => fatal("the migrations could not be applied".to_owned()),
    }
}

fn fatal(text: String) -> SinkError {
    SinkError::new(ErrorClass::Fatal, text)
}

/// What to do about an error.
fn class_of(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(_) => sqlstate(error).map_or(ErrorClass::Fatal, class_of_sqlstate),
        // A stream that is out of step is cured by a new connection.
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::PoolTimedOut => ErrorClass::Retryable,
        // Among them a closed pool, which nobody opens again.
        _ => ErrorClass::Fatal,
    }
}

/// What to do about a SQLSTATE. The first line that fits decides.
fn class_of_sqlstate(code: &str) -> ErrorClass {
    use ErrorClass::{BadRow, Fatal, Retryable};
    match code {
        // A row breaks a type's rule, a constraint, or a view's WITH CHECK OPTION.
        _ if code.starts_with("22") || code.starts_with("23") => BadRow,
        "44000" => BadRow,
        // Another transaction was faster; this one may succeed now.
        "40001" | "40P01" | "40003" => Retryable,
        // A standby, or a database that an operator made read-only; a session that was ended for idling.
        "25006" | "25P02" | "25P03" | "25P04" => Retryable,
        // A lock or a database that somebody else holds.
        "55P03" | "55006" => Retryable,
        // The server behind a pooler changed and does not know what was prepared on the other one.
        "26000" => Retryable,
        // Connection lost; resources used up (disk, memory, connections); stopped, cancelled or started by an operator;
        // the server's own disk failed.
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => Retryable,
        // A missing table or right (42), a missing database (3D), a rejected login (28), corruption (XX), and whatever else.
        _ => Fatal,
    }
}

/// What a reader of logs should know about a SQLSTATE without looking it up.
fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "22001" => "a value is longer than its column",
        "22021" => "a character that the database's encoding does not have",
        "23502" => "a column must not be NULL",
        "23505" => "a unique constraint of the table refuses the row",
        "23514" => "a check constraint of the table refuses the row",
        "25006" => "the database is read-only",
        "28000" | "28P01" => "the login was rejected",
        "3D000" => "there is no such database",
        "3F000" | "42P01" | "42703" | "42883" => {
            "a table, column or function is missing; `etl-worker migrate` makes ours"
        }
        "42501" => "the role lacks a right",
        "42P05" => "a connection pooler mixes prepared statements up; use its session mode",
        "53100" => "the database's disk is full",
        "53300" => "the database has no connection left",
        "55P03" => "a lock was not free in time",
        "57014" => "the statement was cancelled, by an operator or for its time limit",
        "57P01" | "57P02" => "the database is stopping or ended our session",
        "57P03" => "the database is starting, stopping or recovering",
        _ => return None,
    })
}

/// An error in words that hold no value: SQLSTATE and the names of schema objects.
///
/// Postgres's own message and DETAIL quote the row, and sqlx's `Display` and `Debug` pass them on.
fn text_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(_) => database_text(error),
        sqlx::Error::Io(error) => format!("cannot reach Postgres: {}", io_text(error)),
        sqlx::Error::Tls(_) => "TLS with Postgres failed".to_owned(),
        sqlx::Error::Configuration(_) => {
            "the database URL is not valid: expected postgres://user:password@host:port/database".to_owned()
        }
        sqlx::Error::Protocol(_) => "the connection to Postgres is out of step".to_owned(),
        sqlx::Error::PoolTimedOut => "no connection to Postgres in time".to_owned(),
        sqlx::Error::PoolClosed => "the sink is closed".to_owned(),
        _ => "Postgres answered with something unexpected".to_owned(),
    }
}

fn database_text(error: &sqlx::Error) -> String {
    let Some(error) = postgres_error(error) else { return "Postgres reports an error".to_owned() };
    let mut text = format!("Postgres reports SQLSTATE {}", error.code());
    let named = [("table", error.table()), ("column", error.column()), ("constraint", error.constraint())];
    for (kind, name) in named {
        if let Some(name) = name {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {kind} {name}");
        }
    }
    if let Some(hint) = hint(error.code()) {
        let _ = write!(text, " ({hint})");
    }
    text
}

/// The kind, not the error: that one may name what was looked up or opened.
fn io_text(error: &io::Error) -> String {
    // A failed lookup has no kind of its own, only the standard library's text.
    if error.to_string().starts_with("failed to lookup address information") {
        return "the host name does not resolve".to_owned();
    }
    error.kind().to_string()
}

fn postgres_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

fn sqlstate(error: &sqlx::Error) -> Option<&str> {
    postgres_error(error).map(PgDatabaseError::code)
}

/// "no partition of relation found for row" is a check violation without a constraint.
fn is_missing_partition(error: &sqlx::Error) -> bool {
    postgres_error(error).is_some_and(|error| {
        error.code() == "23514"
            && error.constraint().is_none()
            && error.schema() == Some("etl")
            && error.table() == Some("ledger")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sqlstate_has_its_class() {
        use ErrorClass::{BadRow, Fatal, Retryable};
        for (class, codes) in [
            (
                BadRow,
                &[
                    "22000", "22001", "22003", "22021", "22P02", "23000", "23502", "23503", "23505", "23514",
                    "23P01", "44000",
                ][..],
            ),
            (Retryable, &["08000", "08001", "08003", "08004", "08006", "08P01"]),
            (Retryable, &["40001", "40P01", "40003"]),
            (Retryable, &["53000", "53100", "53200", "53300", "53400"]),
            (Retryable, &["57000", "57014", "57P01", "57P02", "57P03", "57P04", "57P05"]),
            (
                Retryable,
                &["25006", "25P02", "25P03", "25P04", "55P03", "55006", "26000", "58000", "58030", "58P01"],
            ),
            (Fatal, &["42P01", "42501", "42703", "42P05", "42601", "3D000", "3F000", "28000", "28P01"]),
            (
                Fatal,
                &[
                    "0A000", "0LP01", "21000", "25000", "25001", "2BP01", "40000", "40002", "54000", "55000",
                    "55P04",
                ],
            ),
            (Fatal, &["P0001", "XX000", "XX001", "XX002", "F0000", "HV000", "", "?", "99999"]),
        ] {
            for code in codes {
                assert_eq!(class_of_sqlstate(code), class, "{code}");
            }
        }
    }

    #[test]
    fn every_error_without_a_sqlstate_has_its_class() {
        use ErrorClass::{Fatal, Retryable};
        for (class, error) in [
            (Retryable, sqlx::Error::Io(io::ErrorKind::ConnectionReset.into())),
            (Retryable, sqlx::Error::Io(io::ErrorKind::UnexpectedEof.into())),
            (Retryable, sqlx::Error::Protocol("203.0.113.7".into())),
            (Retryable, sqlx::Error::PoolTimedOut),
            (Fatal, sqlx::Error::PoolClosed),
            (Fatal, sqlx::Error::Configuration("203.0.113.7".into())),
            (Fatal, sqlx::Error::Tls("203.0.113.7".into())),
            (Fatal, sqlx::Error::Encode("203.0.113.7".into())),
            (Fatal, sqlx::Error::RowNotFound),
        ] {
            let error = SinkError::from(Failure::from(error));
            assert_eq!(error.class(), class, "{error}");
            assert!(!format!("{error} {error:?}").contains("203.0.113.7"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_host_that_does_not_exist_is_said_to_be_none() {
        // RFC 6761: no resolver knows a name below "invalid".
        let error = tokio::net::lookup_host("no-such-host.invalid:5432").await.map(|_| ()).unwrap_err();
        let error = SinkError::from(Failure::from(sqlx::Error::Io(error)));
        assert_eq!(error.to_string(), "cannot reach Postgres: the host name does not resolve");
        assert_eq!(error.class(), ErrorClass::Retryable);
    }

    #[test]
    fn what_stores_no_rows_blames_none() {
        let blamed =
            Failure::Other(SinkError::new(ErrorClass::BadRow, "x").with_code(SinkCode::new("23505")));
        let error = blamed.without_rows();
        assert_eq!((error.class(), error.code()), (ErrorClass::Fatal, SinkCode::new("23505")));
    }
}
