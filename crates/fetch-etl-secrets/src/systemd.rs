//! Secrets that systemd hands to a service.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::file;
use crate::{SecretError, SecretSource, SecretText};

const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
const MAX_NAME_BYTES: usize = 255;
const NO_CREDENTIAL: &str =
    "the service was not given it; its unit needs LoadCredential= or LoadCredentialEncrypted= with this name";

/// A secret that systemd gave to the service by `LoadCredential=`, `LoadCredentialEncrypted=` or `SetCredential…=`: the file
/// of this name in `$CREDENTIALS_DIRECTORY`, which only the service can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemdCredential {
    name: String,
    path: PathBuf,
}

impl SystemdCredential {
    /// The credential of this name, in the directory that the environment names.
    ///
    /// # Errors
    /// [`SecretError::Misconfigured`]: no credential has such a name (empty, longer than 255 bytes, with `/`, `:` or a control
    /// character, `.`, `..`), or this process was not started by systemd with a credential.
    pub fn new(name: impl Into<String>) -> Result<Self, SecretError> {
        Self::of_variable(env::var_os(VARIABLE), name.into())
    }

    /// The credential of this name, in a directory. It need not be there yet.
    ///
    /// # Errors
    /// As for [`new`](Self::new), of the name.
    pub fn in_directory(directory: impl AsRef<Path>, name: impl Into<String>) -> Result<Self, SecretError> {
        let name = checked(name.into())?;
        Ok(Self { path: directory.as_ref().join(&name), name })
    }

    fn of_variable(directory: Option<OsString>, name: String) -> Result<Self, SecretError> {
        let name = checked(name)?;
        let directory = directory.map(PathBuf::from);
        // systemd names it in full; a path relative to who knows what is somebody else's.
        let Some(directory) = directory.filter(|directory| directory.is_absolute()) else {
            return Err(SecretError::misconfigured(
                place(&name),
                "CREDENTIALS_DIRECTORY names no directory; systemd sets it for a service whose unit has LoadCredential=",
            ));
        };
        Self::in_directory(directory, name)
    }
}

/// What systemd itself takes for a name. What is none is not quoted: it may be the secret, in the wrong setting.
fn checked(name: String) -> Result<String, SecretError> {
    let is_name = !matches!(name.as_str(), "" | "." | "..")
        && name.len() <= MAX_NAME_BYTES
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_control());
    if is_name {
        Ok(name)
    } else {
        Err(SecretError::misconfigured(
            "the systemd credential",
            "a name has 1 to 255 bytes without /, : and control characters",
        ))
    }
}

fn place(name: &str) -> String {
    format!("the systemd credential {name}")
}

#[async_trait]
impl SecretSource for SystemdCredential {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let bytes = file::read(&self.path).map_err(|fault| fault.at(self.describe(), NO_CREDENTIAL))?;
        SecretText::from_utf8(&bytes).map_err(|fault| SecretError::of_text(fault, self.describe()))
    }

    fn describe(&self) -> String {
        place(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_one_that_systemd_names() {
        let credential =
            SystemdCredential::of_variable(Some("/run/credentials/etl".into()), "key".to_owned());
        assert_eq!(credential.unwrap().path, Path::new("/run/credentials/etl/key"));
        for directory in [None, Some(""), Some("here")] {
            let error = SystemdCredential::of_variable(directory.map(OsString::from), "key".to_owned());
            assert_eq!(
                error.unwrap_err().to_string(),
                "the systemd credential key: CREDENTIALS_DIRECTORY names no directory; systemd sets it for a service whose \
                 unit has LoadCredential="
            );
        }
    }

    #[test]
    fn a_name_cannot_lead_out_of_the_directory_and_is_not_quoted_when_it_is_none() {
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "../hunter2", "/hunter2", "hunter2/", "hunter:2", "hunter2\n", &long] {
            let error = SystemdCredential::in_directory("/run", bad).unwrap_err();
            assert!(matches!(error, SecretError::Misconfigured { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error}");
        }
        assert!(SystemdCredential::in_directory("/run", "masking-key.v2").is_ok());
    }
}
