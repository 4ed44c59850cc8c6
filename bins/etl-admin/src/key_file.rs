//! Files that hold keys: made for their owner only, and never over another one.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use etl_worker::failure::Failure;
use fetch_etl_seal::KeyPair;
use zeroize::Zeroizing;

/// Larger than any key; a wrong path such as a device must not fill the memory.
const MAX_BYTES: usize = 64 * 1024;

/// Rights of a file that only its owner may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// Rights of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Makes a file with one line, on disk for sure when this returns.
///
/// # Errors
/// There is a file of that name already, or none can be made there.
pub(crate) fn create(path: &Path, mode: u32, line: &str) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
        let written = (|| {
            file.write_all(line.trim_end().as_bytes())?;
            file.write_all(b"\n")?;
            // Whatever the umask says.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_all()?;
            // And the name under which it is found.
            File::open(directory_of(path))?.sync_all()
        })();
        if written.is_err() {
            // Half a key is none, and would be in the way of the next try.
            let _ = std::fs::remove_file(path);
        }
        written
    };
    write().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        kind => Failure::failed(format!("cannot write {}: {kind}", path.display())),
    })
}

/// The directory that a path without one means, too.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."))
}

/// Refuses a path where something is already.
///
/// # Errors
/// There is something.
pub(crate) fn must_be_free(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_ok() { Err(exists(path)) } else { Ok(()) }
}

fn exists(path: &Path) -> Failure {
    Failure::failed(format!("{} is there already; keys are never overwritten", path.display()))
        .hint("what was sealed to a key can be opened with that key only: keep it, or name another file")
}

/// A new version of a file, which nobody else makes at the same time; unless it is put in the place of the old one, nothing is left of it.
pub(crate) struct NewVersion {
    /// The file itself, where the path is a link to it.
    path: PathBuf,
    new: PathBuf,
    file: File,
    done: bool,
}

impl NewVersion {
    /// Begins one. The old version must be read after that: then it is the last one.
    ///
    /// # Errors
    /// There is no such file; or somebody else is making a new version of it, or was killed at that.
    pub(crate) fn begin(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let path = path
            .canonicalize()
            .map_err(|error| Failure::usage(format!("cannot read the key file {shown}: {}", error.kind())))?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&new);
        let file = file.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Failure::failed(format!(
                "{} is there: another etl-admin is adding a key just now, or one was killed at that",
                new.display()
            ))
            .hint(format!(
                "if none is running, remove it: nothing was masked with a key that is only there; {shown} is as it was"
            )),
            kind => Failure::failed(format!("cannot write {}: {kind}", new.display())),
        })?;
        Ok(Self { path, new, file, done: false })
    }

    /// Puts it in the place of the old version, on disk for sure when this returns, with the rights of the other one but for those of
    /// everybody else.
    ///
    /// # Errors
    /// The old one is still there.
    pub(crate) fn put(mut self, text: &str) -> Result<(), Failure> {
        self.replace(text).map_err(|error| {
            Failure::failed(format!("cannot write {}: {}", self.path.display(), error.kind()))
        })
    }

    fn replace(&mut self, text: &str) -> std::io::Result<()> {
        let metadata = self.path.metadata()?;
        self.file.write_all(text.trim_end().as_bytes())?;
        self.file.write_all(b"\n")?;
        // The owner before the rights: else another group could read it for a moment.
        std::os::unix::fs::fchown(&self.file, Some(metadata.uid()), Some(metadata.gid()))?;
        // Whatever the umask says.
        self.file.set_permissions(Permissions::from_mode(metadata.permissions().mode() & 0o770))?;
        self.file.sync_all()?;
        std::fs::rename(&self.new, &self.path)?;
        self.done = true;
        File::open(directory_of(&self.path))?.sync_all()
    }
}

impl Drop for NewVersion {
    fn drop(&mut self) {
        if !self.done {
            // It holds a key that nothing was masked with.
            let _ = std::fs::remove_file(&self.new);
        }
    }
}

/// Reads a file with masking keys.
///
/// # Errors
/// It cannot be read, or is no text.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let shown = path.display();
    let refused = |why: String| Failure::usage(format!("cannot read the key file {shown}: {why}"));
    let file = File::open(path).map_err(|error| refused(error.kind().to_string()))?;
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_BYTES + 1));
    let read = file.take(MAX_BYTES as u64 + 1).read_to_string(&mut text);
    match read.map_err(|error| refused(error.kind().to_string()))? {
        bytes if bytes > MAX_BYTES => Err(refused("it is too large".to_owned())),
        _ => Ok(text),
    }
}

/// Reads a private key.
///
/// # Errors
/// It cannot be read, is no private key, or others may read it, unless that is allowed. Nothing of it is shown.
pub(crate) fn read_private(path: &Path, insecure_permissions: bool) -> Result<KeyPair, Failure> {
    let shown = path.display();
    let unreadable = |kind: ErrorKind| {
        let why = match kind {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            kind => kind.to_string(),
        };
        Failure::usage(format!("cannot read the private key {shown}: {why}"))
    };
    let mut file = File::open(path).map_err(|error| unreadable(error.kind()))?;
    let mode = file.metadata().map_err(|error| unreadable(error.kind()))?.permissions().mode();
    if mode & 0o077 != 0 && !insecure_permissions {
        return Err(Failure::usage(format!(
            "others on this machine may read the private key {shown} (mode {:04o})",
            mode & 0o7777
        ))
        .hint("chmod 600 it; --insecure-permissions uses it all the same"));
    }
    // Room for all of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; MAX_BYTES + 1]);
    let mut length = 0;
    loop {
        match file.read(bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error.kind())),
        }
    }
    let text =
        bytes.get(..length).filter(|_| length <= MAX_BYTES).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.ok_or_else(|| Failure::usage(format!("{shown}: this is no key")))?;
    KeyPair::from_text(text).map_err(|error| Failure::usage(format!("{shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_of_a_bare_name_is_the_one_that_we_are_in() {
        for (path, directory) in [("a.key", "."), ("./a.key", "."), ("b/a.key", "b"), ("/a.key", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory), "{path}");
        }
    }
}
