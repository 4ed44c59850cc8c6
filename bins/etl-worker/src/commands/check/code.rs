//! The codes of findings: what can be wrong, how bad it is, and why it matters. docs/CHECK.md lists them.

use serde::Serialize;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum About {
    Queue,
    Database,
    Masking,
    Clock,
    Configuration,
}

impl About {
    pub(crate) const ALL: [Self; 5] =
        [Self::Queue, Self::Database, Self::Masking, Self::Clock, Self::Configuration];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Database => "database",
            Self::Masking => "masking",
            Self::Clock => "clock",
            Self::Configuration => "configuration",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Messages get lost, values can be read, or the worker cannot work.
    High,
    /// It does harm as soon as something else goes wrong.
    Medium,
    /// It could be tighter.
    Low,
}

impl Severity {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// What can be wrong. The identifiers are stable: scripts name them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub(crate) id: &'static str,
    pub(crate) about: About,
    pub(crate) severity: Severity,
    pub(crate) why: &'static str,
}

/// Makes a constant of each code, and the list of them all.
macro_rules! codes {
    ($($name:ident = $id:literal, $about:ident, $severity:ident, $why:literal;)*) => {
        $(pub(crate) const $name: Code =
            Code { id: $id, about: About::$about, severity: Severity::$severity, why: $why };)*
        /// Every code, in the order of the documentation.
        pub(crate) static CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    QUEUE_NO_DEAD_LETTER = "queue-no-dead-letter", Queue, High,
        "a message that is rejected comes back again and again, until the queue's retention deletes it for good";
    QUEUE_DEAD_LETTER_MISSING = "queue-dead-letter-missing", Queue, High,
        "SQS keeps the policy of a queue that was deleted, and deletes what should go there";
    QUEUE_DEAD_LETTER_RETENTION = "queue-dead-letter-retention", Queue, High,
        "the age of a message counts from when it was first sent: moved to the dead-letter queue it may be deleted at once, unseen";
    QUEUE_MAX_RECEIVE_COUNT_LOW = "queue-max-receive-count-low", Queue, Medium,
        "each kill of a worker uses up one receive of what it held, so a deployment or two would make good messages dead letters";
    QUEUE_MAX_RECEIVE_COUNT_HIGH = "queue-max-receive-count-high", Queue, Low,
        "a message that can never become a row is received that often before anybody hears of it";
    QUEUE_RETENTION_SHORT = "queue-retention-short", Queue, Medium,
        "messages that wait while the database is down for longer than that are deleted";
    QUEUE_VISIBILITY_SHORT = "queue-visibility-short", Queue, Medium,
        "leases are renewed at half of it: while a write takes long there is no time to renew all that is in hand, and others receive it too";
    QUEUE_VISIBILITY_LONG = "queue-visibility-long", Queue, Low,
        "what a killed worker held comes back only after that time; a running worker renews its leases by itself";
    QUEUE_NOT_ENCRYPTED = "queue-not-encrypted", Queue, Medium,
        "the queue holds every value in clear, on disks that are not yours";
    QUEUE_IN_CLEAR = "queue-connection-in-clear", Queue, High,
        "messages travel over http to another machine: whoever is on the way reads every value";

    DATABASE_NOT_MIGRATED = "database-not-migrated", Database, High,
        "tables of ours are missing or old, and with sink.migrate = false the worker does not make them: it does not start";
    DATABASE_TABLES_UNFIT = "database-tables-unfit", Database, High,
        "a column that is too short or of another type refuses every row";
    DATABASE_READ_ONLY = "database-read-only", Database, High,
        "nothing can be written";
    DATABASE_FSYNC_OFF = "database-fsync-off", Database, High,
        "messages are deleted once their rows are committed, and a crash of the server takes committed rows back";
    DATABASE_FULL_PAGE_WRITES_OFF = "database-full-page-writes-off", Database, Medium,
        "a crash may leave pages that are written by half, and rows that cannot be read";
    DATABASE_SYNCHRONOUS_COMMIT_OFF = "database-synchronous-commit-off", Database, Low,
        "the worker switches it on for its own sessions; what others commit with this login, a crash may take back";
    DATABASE_SUPERUSER = "database-superuser", Database, Medium,
        "who gets hold of the worker's password gets hold of the whole server, its files among it";
    DATABASE_OWNS_TABLES = "database-owns-tables", Database, Low,
        "an owner may change and drop rows, the ledger and the vault; a worker needs to add to them only";
    DATABASE_CHANGES_ROWS = "database-changes-rows", Database, Medium,
        "a worker only adds rows; who gets hold of its password could change or delete them";
    DATABASE_READS_VAULT = "database-reads-vault", Database, Medium,
        "a worker only adds to the vault; who can read it needs but the private key to have all values";
    DATABASE_CHANGES_POLICY = "database-changes-policy", Database, Medium,
        "one worker with a wrong configuration could put its policy in force for all of them";
    DATABASE_CHANGES_LEDGER = "database-changes-ledger", Database, Medium,
        "a key that is gone from the ledger is a second row, and a quarantined message that is gone is lost";
    DATABASE_CREATES_OBJECTS = "database-creates-objects", Database, Low,
        "who may make tables and functions beside ours can put one in the way of ours; a worker needs to make none";
    DATABASE_LOG_QUOTES = "database-log-quotes-values", Database, Low,
        "the server's log quotes refused rows and the parameters of slow statements: user ids and masks, and replayed values";
    DATABASE_IN_CLEAR = "database-connection-in-clear", Database, Medium,
        "without it the connection falls back to clear text where the server offers no TLS, or somebody in between says so";

    MASKING_UNKEYED = "masking-unkeyed", Masking, High,
        "there are 4.3 billion IPv4 addresses, and not more device ids of nine digits: one graphics card tries them all in seconds";
    MASKING_KEY_MADE_UP = "masking-key-made-up", Masking, High,
        "masks are as hard to reverse as the key is to guess, and this one was not made by a source of random bytes";
    MASKING_PARTIAL = "masking-partial", Masking, Low,
        "a part of every value is stored in clear, and shown to all who read the table";
    POLICY_DIFFERS = "policy-differs", Masking, High,
        "the worker does not start: two kinds of masks in one column would make equal values look different";
    POLICY_NEWER_KEY_WAITS = "policy-newer-key-waits", Masking, Low,
        "a key that was to replace another one protects nothing before the rotation";
    RECIPIENT_CHANGED = "recipient-changed", Masking, High,
        "what is sealed from now on can be opened by whoever holds another private key than the one of before";

    CLOCK_DIFFERS_FROM_QUEUE = "clock-differs-from-queue", Clock, Medium,
        "AWS refuses requests that are signed some minutes off, and lag and ages in logs and metrics are wrong";
    CLOCK_DIFFERS_FROM_DATABASE = "clock-differs-from-database", Clock, Low,
        "ingested_at, the retention of the ledger and the audit go by the database's clock, logs and metrics by this machine's";

    SECRET_FILE_OPEN = "secret-file-open", Configuration, High,
        "everybody with an account on this machine can take the secret with them";
    LEDGER_RETENTION_SHORT = "ledger-retention-short", Configuration, High,
        "a message that comes again after the ledger forgot it is written a second time";
    WRITERS_SHARE_CONNECTIONS = "pipeline-writers-share-connections", Configuration, Low,
        "writers wait for each other's connections, so more of them make nothing faster";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/CHECK.md");

    #[test]
    fn codes_are_unique_and_say_why() {
        let ids: BTreeSet<_> = CODES.iter().map(|code| code.id).collect();
        assert_eq!(ids.len(), CODES.len());
        for code in CODES {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
            assert!(code.id.bytes().all(is_plain), "{}", code.id);
            assert!(!code.why.is_empty() && !code.why.ends_with('.'), "{}", code.id);
        }
    }

    #[test]
    fn the_page_lists_each_code_with_its_severity_and_no_other() {
        let rows = PAGE.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let id = cells.next()?.trim().strip_suffix('`')?;
            Some((id, cells.next()?.trim()))
        });
        let documented: Vec<_> = rows.filter(|(id, _)| !id.contains('.')).collect();
        let codes: Vec<_> = CODES.iter().map(|code| (code.id, code.severity.word())).collect();
        assert_eq!(documented, codes);
    }
}
