//! How a command fails: one line, an exit code, and a hint where one helps.

use std::borrow::Cow;

use crate::settings::SettingsError;

/// What the process says to whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// Everything is done.
    Done,
    /// The command could not do its work.
    Failed,
    /// The command line or the configuration is wrong: trying again changes nothing.
    Usage,
    /// Not everything that was to be checked could be.
    NotChecked,
}

impl ExitCode {
    /// The number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotChecked => 3,
        }
    }
}

/// Why a command failed. It is printed once, where the process ends.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The exit code.
    pub code: ExitCode,
    /// What failed, with no value of a message and no secret.
    pub text: String,
    /// What to do about it.
    pub hint: Option<Cow<'static, str>>,
}

impl Failure {
    /// Something failed at run time.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: ExitCode::Failed, text: text.into(), hint: None }
    }

    /// The command line or the configuration is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: ExitCode::Usage, text: text.into(), hint: None }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error.to_string()).hint("every key with its default is in config/etl.example.toml")
    }
}
