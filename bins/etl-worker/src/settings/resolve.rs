//! From merged values to settings: what belongs together, what excludes each other, what is missing, secrets in files.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fetch_etl_core::pipeline::PipelineConfig;
use fetch_etl_sqs::Credentials;

use super::errors::{Origin, Problem, SettingsError};
use super::model::{
    DatabaseUrl, KeySource, MaskingSettings, QueueRef, RecipientSettings, ReplaySettings, Settings,
    SinkSettings, SourceSettings,
};
use super::raw::{Raw, RawMethod, RawPipeline, RawSourceKind};
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
        let pipeline = pipeline(&self.raw.pipeline, self.raw.source.max_receivers);
        match (source, masking, sink) {
            (Some(source), Some(masking), Some(sink)) if self.problems.is_empty() => {
                Ok(Settings { source, pipeline, masking, sink, recipient })
            }
            _ => Err(SettingsError { problems: self.problems }),
        }
    }

    pub(super) fn without_queue(mut self) -> Result<ReplaySettings, SettingsError> {
        let masking = self.masking();
        let sink = self.sink();
        let pipeline = pipeline(&self.raw.pipeline, self.raw.source.max_receivers);
        match (masking, sink) {
            (Some(masking), Some(sink)) if self.problems.is_empty() => {
                Ok(ReplaySettings { pipeline, masking, sink })
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
            credentials: Credentials::SdkChain,
        })
    }

    fn masking(&mut self) -> Option<MaskingSettings> {
        let key = match (self.raw.masking.key.clone(), self.raw.masking.key_file.clone()) {
            (Some(_), Some(_)) => return self.refuse_both("masking.key", "masking.key_file"),
            (Some(key), None) => Some((key, KeySource::Value)),
            (None, Some(file)) => {
                Some((self.secret_file("masking.key_file", &file)?, KeySource::File(PathBuf::from(file))))
            }
            (None, None) => None,
        };
        match (self.raw.masking.method, key) {
            (None | Some(RawMethod::HmacSha512), Some((key, key_from))) => {
                Some(MaskingSettings::HmacSha512 { key, key_from, domain: self.raw.masking.domain.clone() })
            }
            (Some(RawMethod::HmacSha512), None) => self.refuse_missing(&["masking.key_file", "masking.key"]),
            // Quietly masking with the weaker method, against the sign that a key is, would be found out too late.
            (Some(RawMethod::Sha512), Some(_)) => {
                let text = "sha512 uses no key, but one is set; remove the key or this method";
                self.refuse("masking.method", text)
            }
            (None | Some(RawMethod::Sha512), None) => Some(MaskingSettings::Sha512),
        }
    }

    /// `None` where none is set, or where there is a problem.
    fn recipient(&mut self) -> Option<RecipientSettings> {
        const VALUE: &str = "quarantine.recipient";
        const FILE: &str = "quarantine.recipient_file";
        let raw = &self.raw.quarantine;
        match (raw.recipient.clone(), raw.recipient_file.clone()) {
            (Some(_), Some(_)) => self.refuse_both(VALUE, FILE),
            (Some(key), None) => Some(RecipientSettings { key, key_from: KeySource::Value }),
            (None, Some(file)) => {
                let key = self.secret_file(FILE, &file)?;
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
    let mut text = String::new();
    let read =
        std::fs::File::open(file).and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(io_words(&error)),
        Ok(bytes) if bytes as u64 > MAX_SECRET_BYTES => Err("it is too large to be a secret".to_owned()),
        Ok(_) if text.trim().is_empty() => Err("it is empty".to_owned()),
        Ok(_) => Ok(Secret::new(text.trim())),
    }
}
