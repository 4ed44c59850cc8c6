//! The table of configuration keys: the one place that says which there are, of which type, and with which default.
//!
//! Unknown keys, types, ranges and defaults are judged by it; `check`, the example file's test and the reference
//! documentation read it.

use std::fmt;

use fetch_etl_mask::Method;

/// One configuration key.
#[derive(Debug)]
pub struct Key {
    /// Its path in the file, for example `source.wait_time_s`.
    pub path: &'static str,
    /// What its value must be.
    pub kind: Kind,
    /// What holds where nobody sets it.
    pub default: DefaultValue,
    /// What it means, in one line.
    pub meaning: &'static str,
}

/// What a key's value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text that is not empty.
    Text,
    /// An `http://` or `https://` address.
    HttpUrl,
    /// An IP address and a port.
    Socket,
    /// A file's path.
    Path,
    /// Text that is never shown.
    Secret,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
        /// Its unit, with the space before it, or nothing.
        unit: &'static str,
        /// Why there is such a bound, where it is not plain.
        why: &'static str,
    },
}

impl Kind {
    const fn integer(min: i64, max: i64, unit: &'static str, why: &'static str) -> Self {
        Self::Integer { min, max, unit, why }
    }

    /// Whether the value must never be shown.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret)
    }
}

/// "a whole number from 0 to 20 (the reason)": what stands behind "expected" in an error.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text, not empty"),
            Self::HttpUrl => f.write_str("an address, http://… or https://…"),
            Self::Socket => f.write_str("an IP address and a port, such as 127.0.0.1:9600 or [::]:9600"),
            Self::Path => f.write_str("a file's path"),
            Self::Secret => f.write_str("text, not empty (not shown here: it is a secret)"),
            Self::Bool => f.write_str("true or false"),
            Self::Choice(words) => match words {
                [one] => write!(f, "\"{one}\""),
                _ => {
                    f.write_str("one of ")?;
                    words.iter().enumerate().try_for_each(|(index, word)| {
                        let comma = if index == 0 { "" } else { ", " };
                        write!(f, "{comma}\"{word}\"")
                    })
                }
            },
            Self::Integer { min, max, unit, why } => {
                write!(f, "a whole number from {min} to {max}{unit}")?;
                if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
            }
        }
    }
}

/// What holds where nobody sets a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// A text.
    Text(&'static str),
    /// A number.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// Nothing is set; the words say what that means.
    Unset(&'static str),
}

const MIB: i64 = 1024 * 1024;

const fn key(path: &'static str, kind: Kind, default: DefaultValue, meaning: &'static str) -> Key {
    Key { path, kind, default, meaning }
}

use DefaultValue::{Bool, Integer, Text, Unset};

/// Every key, in the order of the example file.
pub static KEYS: &[Key] = &[
    key("source.kind", Kind::Choice(&["sqs"]), Text("sqs"), "which kind of queue"),
    key(
        "source.queue_url",
        Kind::HttpUrl,
        Unset("one of queue_url and queue_name is required"),
        "the queue's URL",
    ),
    key(
        "source.queue_name",
        Kind::Text,
        Unset("one of queue_url and queue_name is required"),
        "the queue's name; its URL is looked up",
    ),
    key(
        "source.endpoint_url",
        Kind::HttpUrl,
        Unset("from the AWS environment"),
        "another endpoint than AWS's own: ElasticMQ, LocalStack, fetch-etl-local-sqs",
    ),
    key("source.region", Kind::Text, Unset("from the AWS environment"), "the AWS region"),
    key(
        "source.wait_time_s",
        Kind::integer(0, 20, " seconds", "SQS refuses a long poll of more than 20 seconds"),
        Integer(20),
        "how long a receive waits for messages (long poll)",
    ),
    key(
        "source.visibility_timeout_s",
        Kind::integer(
            1,
            43_200,
            " seconds",
            "SQS hides a message for 12 hours at most; with 0 everybody gets it at once",
        ),
        Unset("the queue's own"),
        "how long a received message is invisible to others; extended while it is being worked on",
    ),
    key("source.max_receivers", Kind::integer(1, 1_024, "", ""), Integer(16), "most parallel receives"),
    key(
        "source.key_attribute",
        Kind::Text,
        Unset("the attribute origin-message-id, else the queue's id of the message"),
        "message attribute that holds the producer's id of an event: a row is written once for each",
    ),
    key(
        "source.transport",
        Kind::Choice(&["lean", "sdk"]),
        Text("lean"),
        "who receives and deletes: this program, with a fraction of the CPU, or the AWS SDK",
    ),
    key(
        "pipeline.max_in_flight",
        Kind::integer(1, 1_000_000, "", ""),
        Integer(10_000),
        "most messages held at once; bounds the memory",
    ),
    key(
        "pipeline.max_batch_rows",
        Kind::integer(1, 100_000, "", ""),
        Integer(2_000),
        "most messages of one write",
    ),
    key(
        "pipeline.max_batch_bytes",
        Kind::integer(1_024, 1_024 * MIB, " bytes", ""),
        Integer(8 * MIB),
        "most bytes of message bodies of one write",
    ),
    key("pipeline.writers", Kind::integer(1, 256, "", ""), Integer(2), "parallel writes"),
    key(
        "pipeline.shutdown_grace_s",
        Kind::integer(1, 3_600, " seconds", ""),
        Integer(30),
        "how long a shutdown may take until what is left goes back to the queue",
    ),
    key(
        "masking.method",
        Kind::Choice(&Method::NAMES),
        Unset("hmac-sha512 when a key is set, else sha512"),
        "how personal fields are masked; sha512 can be reversed by trying all values",
    ),
    key(
        "masking.fields.ip",
        Kind::Choice(&Method::NAMES),
        Unset("as masking.method says"),
        "another method for ip: drop (NULL), redact (a constant), ip-prefix (keyed, of /24 or /48), partial (its end)",
    ),
    key(
        "masking.fields.device_id",
        Kind::Choice(&Method::NAMES),
        Unset("as masking.method says"),
        "another method for device_id",
    ),
    key(
        "masking.redact_with",
        Kind::Text,
        Text(Method::REDACTED),
        "what the method redact stores in the place of every value",
    ),
    key(
        "masking.partial_chars",
        Kind::integer(1, Method::MAX_PARTIAL_CHARS as i64, "", "more would not be partial"),
        Integer(Method::PARTIAL_CHARS as i64),
        "how many of the last characters the method partial keeps, of values at least twice as long",
    ),
    key(
        "masking.key",
        Kind::Secret,
        Unset("none"),
        "the masking key, base64, at least 32 random bytes; better in a file or the environment",
    ),
    key(
        "masking.key_file",
        Kind::Path,
        Unset("none"),
        "a file that holds the masking key, or, after a rotation, a line ID:KEY for each (etl-admin keygen master)",
    ),
    key(
        "masking.key_credential",
        Kind::Text,
        Unset("none"),
        "name of a systemd credential that holds the same (LoadCredential= of the unit)",
    ),
    key(
        "masking.key_secret",
        Kind::Text,
        Unset("none"),
        "name or ARN of a secret in AWS Secrets Manager that holds the same (a build with the feature secrets-manager)",
    ),
    key(
        "masking.key_secret_field",
        Kind::Text,
        Unset("the whole secret"),
        "the field that holds it, where that secret is a JSON object",
    ),
    key(
        "masking.key_kms_file",
        Kind::Path,
        Unset("none"),
        "a file that holds the same, encrypted by AWS KMS, as base64 (a build with the feature kms)",
    ),
    key(
        "masking.key_kms_key_id",
        Kind::Text,
        Unset("whichever key the file names"),
        "id, ARN or alias of the KMS key that alone may have encrypted that file: one of another account's is refused",
    ),
    key(
        "masking.key_kms_context",
        Kind::Text,
        Unset("none"),
        "the encryption context of that file, as given to aws kms encrypt: name=value,name=value",
    ),
    key(
        "masking.domain",
        Kind::Text,
        Text("default"),
        "name of the data set: equal values have unrelated masks in another domain (hmac-sha512)",
    ),
    key(
        "sink.database_url",
        Kind::Secret,
        Unset("required; DATABASE_URL is honoured"),
        "where the rows go: postgres://user:password@host:port/database or sqlite://file",
    ),
    key("sink.database_url_file", Kind::Path, Unset("none"), "a file that holds the database URL"),
    key(
        "sink.max_connections",
        Kind::integer(1, 1_000, "", ""),
        Integer(4),
        "most database connections of this worker",
    ),
    key("sink.migrate", Kind::Bool, Bool(true), "apply the migrations at start"),
    key(
        "quarantine.recipient",
        Kind::Text,
        Unset("rejected messages stay in the queue"),
        "public key to which rejected messages are sealed, to be kept with the reject and deleted from the queue",
    ),
    key(
        "quarantine.recipient_file",
        Kind::Path,
        Unset("none"),
        "a file that holds that public key (etl-admin keygen makes one)",
    ),
    key(
        "vault.recipient",
        Kind::Text,
        Unset("no value is kept beside its mask"),
        "public key to which first-seen values are sealed, for those who may have them back (etl-admin reveal); Postgres only",
    ),
    key("vault.recipient_file", Kind::Path, Unset("none"), "a file that holds that public key"),
    key(
        "vault.cache_values",
        Kind::integer(1_000, 100_000_000, "", ""),
        Integer(1_000_000),
        "how many values are remembered as kept, so that each is sealed once; some 80 bytes of memory each",
    ),
    key(
        "ledger.retention_days",
        Kind::integer(1, 3_650, " days", ""),
        Integer(35),
        "how long a message is known as written; longer than the queue's and the dead-letter queue's retention together",
    ),
    key(
        "telemetry.listen",
        Kind::Socket,
        Unset("no port is opened"),
        "address of /metrics, /live and /ready over HTTP, for everybody who can reach it",
    ),
    key(
        "telemetry.otlp_endpoint",
        Kind::HttpUrl,
        Unset("nothing is sent"),
        "an OpenTelemetry collector that traces and metrics are sent to by OTLP over HTTP (a build with the feature otlp)",
    ),
];

/// The key at a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether known keys lie below this path.
pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The known key that an unknown path most likely means.
pub fn nearest(path: &str) -> &'static Key {
    let distance = |key: &&'static Key| {
        let whole = strsim::damerau_levenshtein(path, key.path);
        // The right word in a wrong section is nearer than any spelling of another word, and a part of the right word
        // in the right section is nearer than most.
        match path.rsplit_once('.').unwrap_or(("", path)) {
            (_, word) if key.path.ends_with(&format!(".{word}")) => whole.min(1),
            (section, word) if key.path.strip_prefix(section).is_some_and(|rest| rest.contains(word)) => {
                whole.min(2)
            }
            _ => whole,
        }
    };
    // The table is not empty; its first key stands in for what cannot be.
    KEYS.iter().min_by_key(distance).unwrap_or(&KEYS[0])
}

/// The environment variable that sets a key.
pub fn env_name(path: &str) -> String {
    format!("{}{}", super::layers::ENV_PREFIX, path.replace('.', "__").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_unique_and_defaults_are_of_their_kind() {
        let paths: std::collections::BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), KEYS.len());
        for key in KEYS {
            let fits = match (key.kind, key.default) {
                (_, Unset(words)) => !words.is_empty(),
                (Kind::Integer { min, max, .. }, Integer(value)) => (min..=max).contains(&value),
                (Kind::Choice(words), Text(word)) => words.contains(&word),
                (Kind::Text, Text(text)) => !text.is_empty(),
                (Kind::Bool, Bool(_)) => true,
                _ => false,
            };
            assert!(fits, "{}", key.path);
        }
    }

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (typed, meant) in [
            ("source.queue_urll", "source.queue_url"),
            ("sorce.queue_name", "source.queue_name"),
            ("queue_url", "source.queue_url"),
            ("pipeline.max_receivers", "source.max_receivers"),
            ("source.wait_time", "source.wait_time_s"),
            ("source_queue_url", "source.queue_url"),
            ("sink.url", "sink.database_url"),
            ("masking.keyfile", "masking.key_file"),
        ] {
            assert_eq!(nearest(typed).path, meant, "{typed}");
        }
    }
}
