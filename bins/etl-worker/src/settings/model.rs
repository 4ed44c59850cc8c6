//! The settings as the program uses them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use fetch_etl_core::pipeline::PipelineConfig;
use fetch_etl_mask::Method;
use fetch_etl_sqs::{Credentials, Transport};

use super::secret::{Secret, hide_password};

/// Everything that `run` and `check` need.
#[derive(Debug)]
pub struct Settings {
    /// The queue.
    pub source: SourceSettings,
    /// Bounds of the pipeline.
    pub pipeline: PipelineConfig,
    /// How personal fields are masked.
    pub masking: MaskingSettings,
    /// The database.
    pub sink: SinkSettings,
    /// Who can open rejected messages; where nobody can, they stay in the queue.
    pub recipient: Option<RecipientSettings>,
    /// Who can have masked values back; where nobody can, no value is kept beside its mask.
    pub vault: Option<VaultSettings>,
    /// What the worker tells about itself, and where.
    pub telemetry: TelemetrySettings,
}

/// What the worker tells about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// The address of `/metrics`, `/live` and `/ready`; no port is opened without.
    pub listen: Option<SocketAddr>,
    /// The collector that traces and metrics are sent to.
    pub otlp_endpoint: Option<String>,
}

/// What `etl-admin quarantine replay` needs: the worker's settings but for its queue.
#[derive(Debug)]
pub struct ReplaySettings {
    /// Bounds of the pipeline.
    pub pipeline: PipelineConfig,
    /// How personal fields are masked.
    pub masking: MaskingSettings,
    /// The database.
    pub sink: SinkSettings,
    /// Who can have masked values back.
    pub vault: Option<VaultSettings>,
}

/// The public key to which rejected messages are sealed.
#[derive(Debug)]
pub struct RecipientSettings {
    /// The key as text. It is public, but whoever mixes the two up sets the private one: never shown before it is read.
    pub key: Secret,
    /// Where it came from, for errors about it.
    pub key_from: KeySource,
}

/// The queue.
#[derive(Debug)]
pub struct SourceSettings {
    /// Which queue.
    pub queue: QueueRef,
    /// Another endpoint than AWS's own.
    pub endpoint_url: Option<String>,
    /// The AWS region; from the AWS environment where it is not set.
    pub region: Option<String>,
    /// The long poll.
    pub wait_time: Duration,
    /// Whether somebody set the long poll, or it is the default.
    pub wait_time_is_explicit: bool,
    /// How long a received message is invisible; the queue's own time where it is not set.
    pub visibility_timeout: Option<Duration>,
    /// Most parallel receives.
    pub max_receivers: usize,
    /// The message attribute that holds the producer's id of an event.
    pub key_attribute: Option<String>,
    /// Who receives and deletes.
    pub transport: Transport,
    /// Where the AWS credentials come from: not from our configuration.
    pub credentials: Credentials,
}

/// How a queue is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueRef {
    /// By its URL.
    Url(String),
    /// By its name.
    Name(String),
}

impl std::fmt::Display for QueueRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&hide_password(url)),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// How personal fields are masked.
#[derive(Debug)]
pub struct MaskingSettings {
    /// The method of fields that have none of their own.
    pub method: Method,
    /// The methods of the fields of a login.
    pub fields: Vec<(&'static str, Method)>,
    /// Where the key is, where one is set.
    pub key: Option<KeyPlace>,
    /// The name of the data set.
    pub domain: String,
}

impl MaskingSettings {
    /// One method for all fields.
    pub fn of(method: Method, key: Option<KeyPlace>, domain: &str) -> Self {
        let fields = LOGIN_FIELDS.map(|field| (field, method.clone())).into();
        Self { method, fields, key, domain: domain.to_owned() }
    }

    /// The method, or each field with its own.
    pub fn words(&self) -> String {
        if self.fields.iter().all(|(_, method)| *method == self.method) {
            return self.method.to_string();
        }
        let words: Vec<_> = self.fields.iter().map(|(field, method)| format!("{field}={method}")).collect();
        words.join(" ")
    }
}

/// The fields of a login that are masked.
pub const LOGIN_FIELDS: [&str; 2] = ["ip", "device_id"];

/// Where the masking key is, or the keys are.
#[derive(Debug)]
pub enum KeyPlace {
    /// In the configuration itself, `masking.key`.
    Value(Secret),
    /// In a file, `masking.key_file`, which was read.
    File(PathBuf, Secret),
    /// In a systemd credential, `masking.key_credential`.
    Credential(String),
    /// In AWS Secrets Manager, `masking.key_secret`.
    SecretsManager {
        /// The secret's name or ARN.
        id: String,
        /// The field of it, where it is a JSON object.
        field: Option<String>,
        /// The AWS region; from the AWS environment where it is not set.
        region: Option<String>,
    },
    /// In a file that AWS KMS decrypts, `masking.key_kms_file`.
    Kms {
        /// The file.
        file: PathBuf,
        /// The only KMS key that may have encrypted it.
        key_id: Option<String>,
        /// Its encryption context.
        context: BTreeMap<String, String>,
        /// The AWS region; from the AWS environment where it is not set.
        region: Option<String>,
    },
}

impl KeyPlace {
    /// What is named in errors: the key of the configuration, and the place.
    pub fn words(&self) -> String {
        match self {
            Self::Value(_) => "masking.key".to_owned(),
            Self::File(file, _) => format!("masking.key_file: {}", file.display()),
            Self::Credential(name) => format!("masking.key_credential: {name}"),
            Self::SecretsManager { id, .. } => format!("masking.key_secret: {id}"),
            Self::Kms { file, .. } => format!("masking.key_kms_file: {}", file.display()),
        }
    }
}

/// The public key to which values are sealed for the vault.
#[derive(Debug)]
pub struct VaultSettings {
    /// The public key.
    pub recipient: RecipientSettings,
    /// How many values are remembered as kept.
    pub cache_values: usize,
}

/// Where a public key was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The configuration itself.
    Value,
    /// The file that it names.
    File(PathBuf),
}

/// The database.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Its address.
    pub database: DatabaseUrl,
    /// The file that the address was read from, where it was one.
    pub database_url_file: Option<PathBuf>,
    /// Most connections.
    pub max_connections: u32,
    /// Whether `run` applies the migrations.
    pub migrate: bool,
    /// For how many days a message is known as written.
    pub ledger_retention_days: u32,
}

/// Which kind of database an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseKind {
    /// `postgres://…`, `postgresql://…`
    Postgres,
    /// `sqlite://…`, `sqlite:…`
    Sqlite,
}

/// A database's address; it may hold a password, so `Debug` and `Display` show none.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    kind: DatabaseKind,
    url: Secret,
}

impl DatabaseUrl {
    /// What an address must look like.
    pub const EXPECTED: &str = "postgres://user:password@host:port/database or sqlite://file";

    /// Reads an address; `None` when it is neither Postgres's nor SQLite's.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once(':')?;
        let kind = match scheme {
            "postgres" | "postgresql" if rest.starts_with("//") => DatabaseKind::Postgres,
            "sqlite" if rest.len() > "//".len() => DatabaseKind::Sqlite,
            _ => return None,
        };
        Some(Self { kind, url: Secret::new(url) })
    }

    /// Which database it is.
    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The whole address, for the sink.
    pub fn expose(&self) -> &str {
        self.url.expose()
    }
}

impl std::fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hide_password(self.url.expose()))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_chosen_by_its_scheme() {
        for (url, kind) in [
            ("postgres://db/logins", Some(DatabaseKind::Postgres)),
            ("postgresql://etl:pw@db:5432/logins", Some(DatabaseKind::Postgres)),
            ("sqlite://logins.sqlite", Some(DatabaseKind::Sqlite)),
            ("sqlite:logins.sqlite", Some(DatabaseKind::Sqlite)),
            ("sqlite://", None),
            ("postgres:db", None),
            ("mysql://db/logins", None),
            ("logins", None),
        ] {
            assert_eq!(DatabaseUrl::parse(url).map(|database| database.kind()), kind, "{url}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let database = DatabaseUrl::parse("postgres://etl:hunter2@db/logins");
        let shown = format!("{database:?}");
        assert!(!shown.contains("hunter2") && shown.contains("db/logins"), "{shown}");
    }
}
