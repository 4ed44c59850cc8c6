//! The configuration: a TOML file, then the environment, then `--set`; later wins.
//!
//! Everything that is wrong is said at once, each thing in one line with the key's path, what was expected and where
//! the value was set. A secret is never shown.

mod errors;
pub mod keys;
mod layers;
mod model;
mod raw;
mod resolve;
mod secret;
mod show;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::Config;

pub use errors::{Origin, Problem, SettingsError};
pub use layers::ENV_PREFIX;
pub use model::{
    DatabaseKind, DatabaseUrl, KeyPlace, KeySource, LOGIN_FIELDS, MaskingSettings, QueueRef,
    RecipientSettings, ReplaySettings, Settings, SinkSettings, SourceSettings, TelemetrySettings,
    VaultSettings,
};
pub use secret::{HIDDEN, Secret, hide_password};
pub use show::show;

/// Where a configuration is read from.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The file, where one is named.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// `KEY=VALUE` from the command line.
    pub flags: Vec<String>,
}

impl Inputs {
    /// A file and flags, with the environment of this process.
    pub fn new(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        Self { file, env: std::env::vars_os().collect(), flags }
    }
}

/// The merged layers: every value is of its key's type, or its problem is noted.
pub struct Loaded {
    config: Config,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Loaded {
    // The values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("set", &self.origins)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    /// Reads and merges the layers.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML: nothing else is judged then, for most of it would be noise.
    pub fn read(inputs: &Inputs) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let file = match &inputs.file {
            Some(path) => {
                let text = read_file(path).map_err(|problem| SettingsError { problems: vec![problem] })?;
                layers::from_toml(&path.display().to_string(), &text, &mut problems)
                    .map_err(|problems| SettingsError { problems })?
            }
            None => layers::Layer::default(),
        };
        let env = layers::from_env(inputs.env.iter().cloned(), &mut problems);
        let flags = layers::from_flags(&inputs.flags, &mut problems);
        let mut builder = Config::builder().add_source(layers::Defaults);
        let mut origins = BTreeMap::new();
        for layer in [file, env.general, env.own, flags] {
            origins.extend(layer.origins().map(|(path, origin)| (path, origin.clone())));
            builder = builder.add_source(layer);
        }
        match builder.build() {
            Ok(config) => Ok(Self { config, origins, problems }),
            // The layers hold known paths and plain values only; the library's text could quote one, so it stays unsaid.
            Err(_) => {
                Err(SettingsError { problems: vec![Problem::new("configuration", "cannot be merged", None)] })
            }
        }
    }

    /// Where the value of a key was set; `None` where its default holds.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.origins.get(path)
    }

    /// What `run` and `check` need.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn settings(&self) -> Result<Settings, SettingsError> {
        resolve::Resolver::new(self)?.settings()
    }

    /// What `migrate` needs: the sink alone. Problems of other keys count all the same, missing ones do not.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn sink(&self) -> Result<SinkSettings, SettingsError> {
        resolve::Resolver::new(self)?.sink_only()
    }

    /// What a replay out of the quarantine needs: everything but the queue.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn replay(&self) -> Result<ReplaySettings, SettingsError> {
        resolve::Resolver::new(self)?.without_queue()
    }

    /// What a redrive needs: the queue alone.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn source(&self) -> Result<SourceSettings, SettingsError> {
        resolve::Resolver::new(self)?.source_only()
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    std::fs::read_to_string(path).map_err(|error| {
        let text = format!("cannot read the configuration file: {}", io_words(&error));
        Problem::new(path.display().to_string(), text, None)
    })
}

/// An I/O error without its number.
fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::InvalidData => "it is not UTF-8 text".to_owned(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests;
