//! From merged values to settings: what belongs together, what excludes each other, what is missing, secrets in files.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fetch_etl_core::pipeline::PipelineConfig;
use fetch_etl_mask::Method;
use fetch_etl_sqs::{Credentials, Transport};
use zeroize::Zeroizing;

use super::errors::{Origin, Problem, SettingsError};
use super::model::{
    DatabaseKind, DatabaseUrl, KeyPlace, KeySource, MaskingSettings, QueueRef, RecipientSettings,
    ReplaySettings, Settings, SinkSettings, SourceSettings, TelemetrySettings, VaultSettings,
};
use super::raw::{Raw, RawPipeline, RawSourceKind, RawTransport};
use super::secret::Secret;
use super::{Loaded, io_words, keys};

/// Larger than any secret; a wrong path such as a device must not fill the memory.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

pub(super) struct Resolver<'a> {
    loaded: &'a Loaded,
    raw: Raw,
    problems: Vec<Problem>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(loaded: &'a Loaded) -> Result<Self, SettingsError> {
        let problems = loaded.problems.clone();
        match serde_path_to_error::deserialize(loaded.config.clone()) {
            Ok(raw) => Ok(Self { loaded, raw, problems }),
            // Every value was judged by the table already, so table and model disagree. The library's text may
            // quote the value: only the path is said.
            Err(error) => {
                let path = error.path().to_string();
                Err(SettingsError { problems: vec![Problem::new(path, "cannot be used", None)] })
            }
        }
    }

    pub(super) fn settings(mut self) -> Result<Settings, SettingsError> {
        let source = self.source();
        let masking = self.masking();
        let sink = self.sink();
        let recipient = self.recipient();
        let vault = self.vault(sink.as_ref(), masking.as_ref());
        let raw = &self.raw.telemetry;
        let telemetry = TelemetrySettings { listen: raw.listen, otlp_endpoint: raw.otlp_endpoint.clone() };
        let pipeline = pipeline(&self.raw.pipeline, self.raw.source.max_receivers);
        match (source, masking, sink) {
            (Some(source), Some(masking), Some(sink)) if self.problems.is_empty() => {
                Ok(Settings { source, pipeline, masking, sink, recipient, vault, telemetry })
            }
            _ => Err(SettingsError { problems: self.problems }),
        }
    }

    pub(super) fn without_queue(mut self) -> Result<ReplaySettings, SettingsError> {
        let masking = self.masking();
        let sink = self.sink();
        let vault = self.vault(sink.as_ref(), masking.as_ref());
        let pipeline = pipeline(&self.raw.pipeline, self.raw.source.max_receivers);
        match (masking, sink) {
            (Some(masking), Some(sink)) if self.problems.is_empty() => {
                Ok(ReplaySettings { pipeline, masking, sink, vault })
            }
            _ => Err(SettingsError { problems: self.problems }),
        }
    }

    pub(super) fn source_only(mut self) -> Result<SourceSettings, SettingsError> {
        match self.source() {
            Some(source) if self.problems.is_empty() => Ok(source),
            _ => Err(SettingsError { problems: self.problems }),
        }
    }

    pub(super) fn sink_only(mut self) -> Result<SinkSettings, SettingsError> {
        match self.sink() {
            Some(sink) if self.problems.is_empty() => Ok(sink),
            _ => Err(SettingsError { problems: self.problems }),
        }
    }

    fn source(&mut self) -> Option<SourceSettings> {
        let raw = &self.raw.source;
        // The only kind so far: a second one makes this a real choice.
        let RawSourceKind::Sqs = raw.kind;
        let queue = match (raw.queue_url.clone(), raw.queue_name.clone()) {
            (Some(url), None) => Some(QueueRef::Url(url)),
            (None, Some(name)) => Some(QueueRef::Name(name)),
            (Some(_), Some(_)) => self.refuse_both("source.queue_url", "source.queue_name"),
            (None, None) => self.refuse_missing(&["source.queue_url", "source.queue_name"]),
        };
        let raw = &self.raw.source;
        Some(SourceSettings {
            queue: queue?,
            endpoint_url: raw.endpoint_url.clone(),
            region: raw.region.clone(),
            wait_time: Duration::from_secs(raw.wait_time_s),
            wait_time_is_explicit: self.loaded.origin("source.wait_time_s").is_some(),
            visibility_timeout: raw.visibility_timeout_s.map(Duration::from_secs),
            max_receivers: raw.max_receivers,
            key_attribute: raw.key_attribute.clone(),
            transport: match raw.transport {
                RawTransport::Lean => Transport::Lean,
                RawTransport::Sdk => Transport::Sdk,
            },
            credentials: Credentials::SdkChain,
        })
    }

    fn masking(&mut self) -> Option<MaskingSettings> {
        let key = self.masking_key()?;
        let method = match (self.raw.masking.method.clone(), &key) {
            (Some(name), _) => self.method("masking.method", &name)?,
            (None, Some(_)) => Method::HmacSha512,
            (None, None) => Method::Sha512,
        };
        let named = [
            ("ip", "masking.fields.ip", self.raw.masking.fields.ip.clone()),
            ("device_id", "masking.fields.device_id", self.raw.masking.fields.device_id.clone()),
        ];
        let mut fields = Vec::new();
        for (field, path, name) in named {
            let own = name.map(|name| self.method(path, &name));
            let (path, method) = match own {
                Some(own) => (path, own?),
                None => ("masking.method", method.clone()),
            };
            if method == Method::IpPrefix && field != "ip" {
                let text = format!(
                    "ip-prefix is for addresses, and {field} is none; give it another method, in masking.fields.{field}"
                );
                return self.refuse(path, &text);
            }
            if method.is_keyed() && key.is_none() {
                return self.refuse_keyless(path, &method);
            }
            fields.push((field, method));
        }
        // Quietly masking with a weaker method, against the sign that a key is, would be found out too late.
        if key.is_some() && !fields.iter().any(|(_, method)| method.is_keyed()) {
            let text = if method.is_keyed() {
                "no field is masked with it, but a key is set; remove the key, or the methods of single fields".to_owned()
            } else {
                format!("{method} uses no key, but one is set; remove the key or this method")
            };
            return self.refuse("masking.method", &text);
        }
        Some(MaskingSettings { method, fields, key, domain: self.raw.masking.domain.clone() })
    }

    /// Where the masking key is; `Some(None)` where none is set.
    fn masking_key(&mut self) -> Option<Option<KeyPlace>> {
        const FIELD: &str = "masking.key_secret_field";
        let (kms_key_id, kms_context) = self.kms()?;
        let (raw, region) = (&self.raw.masking, self.raw.source.region.clone());
        let file = |name: &String| PathBuf::from(name);
        let places = [
            raw.key.clone().map(|key| ("masking.key", KeyPlace::Value(key))),
            // Its text is read below.
            raw.key_file
                .as_ref()
                .map(|name| ("masking.key_file", KeyPlace::File(file(name), Secret::new("")))),
            raw.key_credential.clone().map(|name| ("masking.key_credential", KeyPlace::Credential(name))),
            raw.key_secret.clone().map(|id| {
                let field = raw.key_secret_field.clone();
                ("masking.key_secret", KeyPlace::SecretsManager { id, field, region: region.clone() })
            }),
            raw.key_kms_file.as_ref().map(|name| {
                let (key_id, context) = (kms_key_id, kms_context);
                ("masking.key_kms_file", KeyPlace::Kms { file: file(name), key_id, context, region })
            }),
        ];
        if raw.key_secret_field.is_some() && raw.key_secret.is_none() {
            return self.refuse(FIELD, "a field of which secret? set masking.key_secret, too");
        }
        let mut places = places.into_iter().flatten();
        let Some((path, place)) = places.next() else { return Some(None) };
        if let Some((other, _)) = places.next() {
            return self.refuse_both(path, other);
        }
        match place {
            KeyPlace::File(file, _) => {
                let text = self.secret_file(path, &file.display().to_string())?;
                Some(Some(KeyPlace::File(file, text)))
            }
            place => Some(Some(place)),
        }
    }

    /// What KMS is told beside the file.
    fn kms(&mut self) -> Option<(Option<String>, BTreeMap<String, String>)> {
        const CONTEXT: &str = "masking.key_kms_context";
        let raw = &self.raw.masking;
        let (key_id, text) = (raw.key_kms_key_id.clone(), raw.key_kms_context.clone());
        let first = [("masking.key_kms_key_id", key_id.is_some()), (CONTEXT, text.is_some())];
        if let (None, Some((path, _))) = (&raw.key_kms_file, first.into_iter().find(|(_, is_set)| *is_set)) {
            return self.refuse(path, "for which file? set masking.key_kms_file, too");
        }
        let mut context = BTreeMap::new();
        for pair in text.iter().flat_map(|text| text.split(',')) {
            let named =
                pair.trim().split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty());
            let Some((name, value)) = named else {
                return self.refuse(CONTEXT, "expected name=value, or several of them with commas between");
            };
            if context.insert(name.to_owned(), value.to_owned()).is_some() {
                return self.refuse(CONTEXT, &format!("{name} is there twice"));
            }
        }
        Some((key_id, context))
    }

    fn method(&mut self, path: &str, name: &str) -> Option<Method> {
        let (redacted, chars) = (self.raw.masking.redact_with.clone(), self.raw.masking.partial_chars);
        match Method::from_name(name, &redacted, chars) {
            Ok(method) => Some(method),
            Err(error) => self.refuse(path, &error.to_string()),
        }
    }

    fn refuse_keyless<T>(&mut self, path: &str, method: &Method) -> Option<T> {
        if path == "masking.method" {
            return self.refuse_missing(&["masking.key_file", "masking.key"]);
        }
        self.refuse(path, &format!("{method} needs a key; set masking.key_file"))
    }

    /// `None` where none is set, or where there is a problem.
    fn vault(
        &mut self,
        sink: Option<&SinkSettings>,
        masking: Option<&MaskingSettings>,
    ) -> Option<VaultSettings> {
        const PATHS: [&str; 2] = ["vault.recipient", "vault.recipient_file"];
        let (value, file) = (self.raw.vault.recipient.clone(), self.raw.vault.recipient_file.clone());
        let recipient = self.recipient_of(PATHS, value, file)?;
        let path = if recipient.key_from == KeySource::Value { PATHS[0] } else { PATHS[1] };
        // It keeps what a mask leads to.
        if masking.is_some_and(|masking| !masking.fields.iter().any(|(_, method)| method.identifies())) {
            let text = "nothing would be kept: masking.method and masking.fields give no field a method whose masks stand for one value, \
                        hmac-sha512 or sha512; change them, or remove this";
            return self.refuse(path, text);
        }
        if sink.is_some_and(|sink| sink.database.kind() == DatabaseKind::Sqlite) {
            return self
                .refuse(path, "the vault needs Postgres: SQLite has no roles to keep readers away from it");
        }
        Some(VaultSettings { recipient, cache_values: self.raw.vault.cache_values })
    }

    /// `None` where none is set, or where there is a problem.
    fn recipient(&mut self) -> Option<RecipientSettings> {
        let (value, file) =
            (self.raw.quarantine.recipient.clone(), self.raw.quarantine.recipient_file.clone());
        self.recipient_of(["quarantine.recipient", "quarantine.recipient_file"], value, file)
    }

    fn recipient_of(
        &mut self,
        [value_path, file_path]: [&str; 2],
        value: Option<Secret>,
        file: Option<String>,
    ) -> Option<RecipientSettings> {
        match (value, file) {
            (Some(_), Some(_)) => self.refuse_both(value_path, file_path),
            (Some(key), None) => Some(RecipientSettings { key, key_from: KeySource::Value }),
            (None, Some(file)) => {
                let key = self.secret_file(file_path, &file)?;
                Some(RecipientSettings { key, key_from: KeySource::File(PathBuf::from(file)) })
            }
            (None, None) => None,
        }
    }

    fn sink(&mut self) -> Option<SinkSettings> {
        const URL: &str = "sink.database_url";
        const FILE: &str = "sink.database_url_file";
        let ambient = matches!(self.loaded.origin(URL), Some(Origin::Env(name)) if name == "DATABASE_URL");
        let (path, url) = match (self.raw.sink.database_url.clone(), self.raw.sink.database_url_file.clone())
        {
            (Some(_), Some(_)) if !ambient => return self.refuse_both(URL, FILE),
            // DATABASE_URL is often there for somebody else: it fills a gap and contradicts nothing.
            (_, Some(file)) => (FILE, self.secret_file(FILE, &file)?),
            (Some(url), None) => (URL, url),
            (None, None) => return self.refuse_missing(&[URL, FILE]),
        };
        let Some(database) = DatabaseUrl::parse(url.expose()) else {
            let text = format!(
                "expected {}, found something else (not shown: it may hold a password)",
                DatabaseUrl::EXPECTED
            );
            return self.refuse(path, &text);
        };
        let raw = &self.raw.sink;
        Some(SinkSettings {
            database,
            database_url_file: if path == FILE {
                raw.database_url_file.as_ref().map(PathBuf::from)
            } else {
                None
            },
            max_connections: raw.max_connections,
            migrate: raw.migrate,
            ledger_retention_days: self.raw.ledger.retention_days,
        })
    }

    fn secret_file(&mut self, path: &str, file: &str) -> Option<Secret> {
        match read_secret(Path::new(file)) {
            Ok(secret) => Some(secret),
            Err(words) => self.refuse(path, &format!("cannot use the file {file}: {words}")),
        }
    }

    fn refuse<T>(&mut self, path: &str, text: &str) -> Option<T> {
        let origin = self.loaded.origin(path).cloned();
        self.problems.push(Problem::new(path, text, origin));
        None
    }

    fn refuse_both<T>(&mut self, first: &str, second: &str) -> Option<T> {
        let place = |path| self.loaded.origin(path).map(|origin| format!(" [{origin}]")).unwrap_or_default();
        let text = format!("{second}{} is set as well; set one of the two", place(second));
        self.refuse(first, &text)
    }

    /// Says that one of these keys must be set, unless one of them has a problem of its own.
    fn refuse_missing<T>(&mut self, paths: &[&str]) -> Option<T> {
        if paths.iter().any(|path| self.problems.iter().any(|problem| problem.subject == *path)) {
            return None;
        }
        let first = paths.first()?;
        let others = paths.get(1..).unwrap_or_default().join(", ");
        let expected = match *first {
            "sink.database_url" => DatabaseUrl::EXPECTED.to_owned(),
            path => keys::find(path).map(|key| key.meaning.to_owned()).unwrap_or_default(),
        };
        let name = keys::env_name(first);
        let text = format!(
            "missing, and so is {others}; expected one of the two: {expected} (in the environment: {name})"
        );
        self.refuse(first, &text)
    }
}

fn pipeline(raw: &RawPipeline, max_receivers: usize) -> PipelineConfig {
    PipelineConfig {
        max_in_flight: raw.max_in_flight,
        max_receivers,
        max_batch_rows: raw.max_batch_rows,
        max_batch_bytes: raw.max_batch_bytes,
        writers: raw.writers,
        shutdown_grace: Duration::from_secs(raw.shutdown_grace_s),
        until_empty: false,
    }
}

fn read_secret(file: &Path) -> Result<Secret, String> {
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(64 * 1024 + 1));
    let read =
        std::fs::File::open(file).and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(io_words(&error)),
        Ok(bytes) if bytes as u64 > MAX_SECRET_BYTES => Err("it is too large to be a secret".to_owned()),
        Ok(_) if text.trim().is_empty() => Err("it is empty".to_owned()),
        Ok(_) => Ok(Secret::new(text.trim())),
    }
}
