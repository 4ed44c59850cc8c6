//! Secrets in files: mounted by an orchestrator, or written by hand.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::{Cause, MAX_SECRET_BYTES, SecretError, SecretSource, SecretText};

/// A secret that is the content of a file.
///
/// The file is read on the calling thread, at most 64 KiB of it: it happens once, before there is other work that it
/// could hold up, and handing it to a thread pool would tie this crate to an async runtime. A pipe (`<(command)`) works, and is
/// waited for; it can be read only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSecret {
    path: PathBuf,
}

impl FileSecret {
    /// A file, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Whether others than the file's owner may read or change it. A finding for people to judge rather than an error:
    /// orchestrators mount secrets readable by everybody in a container that has one user.
    ///
    /// `None` also where the file is not there and where files have no such permissions.
    pub fn permissions_finding(&self) -> Option<PermissionsFinding> {
        PermissionsFinding::of(&self.path)
    }
}

#[async_trait]
impl SecretSource for FileSecret {
    async fn fetch(&self) -> Result<SecretText, SecretError> {
        let bytes = read(&self.path).map_err(|fault| fault.at(self.describe(), NO_FILE))?;
        SecretText::from_utf8(&bytes).map_err(|fault| SecretError::of_text(fault, self.describe()))
    }

    fn describe(&self) -> String {
        format!("the file {}", self.path.display())
    }
}

/// A file that others than its owner may read or change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionsFinding {
    path: PathBuf,
    mode: u32,
}

const GROUP: u32 = 0o060;
const OTHERS: u32 = 0o006;
const READ: u32 = 0o044;
const WRITE: u32 = 0o022;

impl PermissionsFinding {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = path.metadata().ok()?.permissions().mode() & 0o777;
        (mode & (GROUP | OTHERS) != 0).then(|| Self { path: path.to_owned(), mode })
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

impl fmt::Display for PermissionsFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |bits| self.mode & bits != 0;
        let what = match (has(READ), has(WRITE)) {
            (true, true) => "read and changed",
            (false, true) => "changed",
            _ => "read",
        };
        let who = match (has(GROUP), has(OTHERS)) {
            (true, true) => "its group and by everybody on this machine",
            (false, true) => "everybody on this machine",
            _ => "its group",
        };
        let Self { path, mode } = self;
        write!(f, "the file {} can be {what} by {who} (mode {mode:04o})", path.display())
    }
}

pub(crate) const NO_FILE: &str = "does not exist";

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum ReadFault {
    Io(io::Error),
    TooLarge,
}

impl ReadFault {
    /// `missing` is what to say of a file that is not there.
    pub(crate) fn at(self, place: String, missing: &'static str) -> SecretError {
        use io::ErrorKind as Io;
        let error = match self {
            Self::TooLarge => return SecretError::TooLarge { place },
            Self::Io(error) => error,
        };
        match error.kind() {
            Io::NotFound | Io::NotADirectory => SecretError::NotFound { place, cause: Cause::new(missing) },
            Io::PermissionDenied => SecretError::Denied {
                place,
                cause: Cause::new("the user that this program runs as may not read it"),
            },
            Io::IsADirectory => SecretError::NotReadable { place, cause: Cause::new("is a directory") },
            _ => SecretError::NotReadable { place, cause: of_other(&error) },
        }
    }
}

fn of_other(error: &io::Error) -> Cause {
    let number = error.raw_os_error().map(|number| format!("os error {number}"));
    Cause::marked("cannot be read", number.unwrap_or_default())
}

/// Reads a file that has at most [`MAX_SECRET_BYTES`]; of a larger one, or of a device, no more than that and one byte.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ReadFault> {
    let limit = MAX_SECRET_BYTES + 1;
    // All of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    let file = File::open(path).map_err(ReadFault::Io)?;
    file.take(limit as u64).read_to_end(&mut bytes).map_err(ReadFault::Io)?;
    if bytes.len() == limit { Err(ReadFault::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_io_error_has_its_class() {
        let error = |error: io::Error| ReadFault::Io(error).at("it".to_owned(), "is not here");
        let of = |kind| error(io::Error::new(kind, "hunter2"));
        for (found, text) in [
            (of(io::ErrorKind::NotFound), "it: is not here"),
            (of(io::ErrorKind::NotADirectory), "it: is not here"),
            (of(io::ErrorKind::PermissionDenied), "it: the user that this program runs as may not read it"),
            (of(io::ErrorKind::IsADirectory), "it: is a directory"),
            (of(io::ErrorKind::Other), "it: cannot be read"),
            (error(io::Error::from_raw_os_error(5)), "it: cannot be read (os error 5)"),
        ] {
            assert_eq!(found.to_string(), text);
        }
        assert!(matches!(of(io::ErrorKind::NotFound), SecretError::NotFound { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), SecretError::Denied { .. }));
        assert!(matches!(of(io::ErrorKind::Other), SecretError::NotReadable { .. }));
    }

    #[test]
    fn a_finding_says_who_can_do_what() {
        for (mode, text) in [
            (0o644, "read by its group and by everybody on this machine (mode 0644)"),
            (0o640, "read by its group (mode 0640)"),
            (0o604, "read by everybody on this machine (mode 0604)"),
            (0o620, "changed by its group (mode 0620)"),
            (0o660, "read and changed by its group (mode 0660)"),
        ] {
            let finding = PermissionsFinding { path: "key".into(), mode };
            assert_eq!(finding.to_string(), format!("the file key can be {text}"));
        }
    }
}
