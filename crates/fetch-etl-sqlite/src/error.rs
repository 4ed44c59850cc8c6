//! What SQLite's errors mean, told without SQLite's message.

use fetch_etl_core::{ErrorClass, SinkCode, SinkError};
use sqlx::migrate::MigrateError;

/// Why a statement failed.
pub(crate) fn sink_error(error: &sqlx::Error) -> SinkError {
    let code = result_code(error);
    let text = match (error, code) {
        (_, Some(code)) => format!("SQLite reports code {code}{}", hint(code)),
        (sqlx::Error::PoolTimedOut, _) => "other writers took too long".to_owned(),
        (sqlx::Error::PoolClosed, _) => "the sink is closed".to_owned(),
        (sqlx::Error::Configuration(_), _) => {
            "the database URL is not valid: expected sqlite://path".to_owned()
        }
        (sqlx::Error::Io(error), _) => format!("cannot use the file: {}", error.kind()),
        _ => "SQLite answered with something unexpected".to_owned(),
    };
    SinkError::new(class_of(error), text).with_code(code.and_then(|code| SinkCode::new(&code.to_string())))
}

/// Why a statement failed that stores no rows, so that none can be to blame.
pub(crate) fn error_without_rows(error: &sqlx::Error) -> SinkError {
    let error = sink_error(error);
    if error.class() != ErrorClass::BadRow {
        return error;
    }
    SinkError::new(ErrorClass::Fatal, error.to_string()).with_code(error.code())
}

/// Why the migrations were not applied.
pub(crate) fn migrate_error(error: &MigrateError) -> SinkError {
    let fatal = |text| SinkError::new(ErrorClass::Fatal, text);
    match error {
        MigrateError::Execute(error) => error_without_rows(error),
        MigrateError::ExecuteMigration(error, version) => {
            let error = error_without_rows(error);
            SinkError::new(error.class(), format!("migration {version}: {error}")).with_code(error.code())
        }
        MigrateError::VersionMissing(version) => fatal(format!(
            "the file has migration {version}, which this version does not know: a newer version migrated it"
        )),
        MigrateError::VersionMismatch(version) => fatal(format!(
            "migration {version} is another one in the file: it was changed after it had been applied"
        )),
        _ => fatal("the migrations could not be applied".to_owned()),
    }
}

/// The error for a file without our tables.
pub(crate) fn not_migrated(missing: &str) -> SinkError {
    SinkError::new(ErrorClass::Fatal, format!("{missing} missing: `etl-worker migrate` makes them"))
}

/// What to do about an error.
fn class_of(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(_) => result_code(error).map_or(ErrorClass::Fatal, class_of_code),
        sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => ErrorClass::Retryable,
        // Among them a closed pool, which nobody opens again.
        _ => ErrorClass::Fatal,
    }
}

/// What to do about a result code, whose lowest eight bits are the primary code.
fn class_of_code(code: i32) -> ErrorClass {
    match code & 0xff {
        // A constraint, a value of the wrong type, a value that is too big.
        18..=20 => ErrorClass::BadRow,
        // Locked by another writer (5, 6, 15), out of memory (7), interrupted (9), a failing or full disk (10, 13), a schema
        // that changed meanwhile (17).
        5 | 6 | 7 | 9 | 10 | 13 | 15 | 17 => ErrorClass::Retryable,
        // A missing table (1), no right (3, 8, 23), a file that cannot be opened (14) or is no database (11, 26), and others.
        _ => ErrorClass::Fatal,
    }
}

/// What a reader of logs should know about a result code without looking it up.
fn hint(code: i32) -> &'static str {
    match code & 0xff {
        1 => " (a table is missing, which `etl-worker migrate` makes, or one of that name is not ours)",
        5 | 6 => " (another writer holds the file)",
        8 => " (the file cannot be written)",
        10 => " (the disk failed)",
        11 | 26 => " (the file is damaged or no SQLite database)",
        13 => " (the disk is full)",
        14 => " (the file cannot be opened)",
        19 => " (a constraint refuses the row)",
        _ => "",
    }
}

fn result_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_code_has_its_class() {
        use ErrorClass::{BadRow, Fatal, Retryable};
        for (class, codes) in [
            (BadRow, &[18, 19, 20, 275, 787, 1299, 1555, 1811, 2067, 3091][..]),
            (Retryable, &[5, 6, 7, 9, 10, 13, 15, 17, 261, 262, 517, 266, 778, 1034]),
            (Fatal, &[0, 1, 2, 3, 4, 8, 11, 12, 14, 16, 21, 23, 24, 25, 26, 257, 264, 267, 1032, -1]),
        ] {
            for code in codes {
                assert_eq!(class_of_code(*code), class, "{code}");
            }
        }
    }

    #[test]
    fn every_error_without_a_code_has_its_class() {
        use ErrorClass::{Fatal, Retryable};
        for (class, error) in [
            (Retryable, sqlx::Error::PoolTimedOut),
            (Retryable, sqlx::Error::WorkerCrashed),
            (Fatal, sqlx::Error::PoolClosed),
            (Fatal, sqlx::Error::Protocol("203.0.113.7".into())),
            (Fatal, sqlx::Error::Encode("203.0.113.7".into())),
        ] {
            let error = sink_error(&error);
            assert_eq!(error.class(), class, "{error}");
            assert!(!format!("{error} {error:?}").contains("203.0.113.7"), "{error}");
        }
    }
}
