//! Trees of files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Findings, Place, Scanner};

/// What a scan of a tree of files has found, and what it could not look at.
#[derive(Debug, Default)]
pub struct DirectoryScan {
    /// What was found; places are followed by the file's path in the tree.
    pub findings: Findings,
    /// How many files were scanned.
    pub files: u64,
    /// Files and directories that could not be read, and why.
    pub unreadable: Vec<(PathBuf, io::ErrorKind)>,
    /// How many were there no more when they were to be read: in a live cluster files come and go.
    pub vanished: u64,
}

impl Scanner {
    /// Scans all files of a tree, file by file, following symbolic links (a cluster's WAL may be behind one). What cannot be read is
    /// reported and does not end it.
    ///
    /// # Errors
    /// The directory itself cannot be read.
    pub fn scan_directory(&self, place: &Place, directory: &Path) -> io::Result<DirectoryScan> {
        fs::read_dir(directory)?;
        let mut walk = Walk {
            scanner: self,
            place,
            root: directory,
            seen: BTreeSet::new(),
            scan: DirectoryScan::default(),
        };
        walk.enter(directory);
        Ok(walk.scan)
    }
}

struct Walk<'a> {
    scanner: &'a Scanner,
    place: &'a Place,
    root: &'a Path,
    /// Links may lead in circles.
    seen: BTreeSet<PathBuf>,
    scan: DirectoryScan,
}

impl Walk<'_> {
    fn enter(&mut self, directory: &Path) {
        let entries = fs::canonicalize(directory).and_then(|real| {
            if !self.seen.insert(real) {
                return Ok(Vec::new());
            }
            fs::read_dir(directory)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()
        });
        match entries {
            Ok(mut paths) => {
                paths.sort();
                paths.iter().for_each(|path| self.visit(path));
            }
            Err(error) => self.missed(directory, error.kind()),
        }
    }

    fn visit(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(about) if about.is_dir() => self.enter(path),
            Ok(about) if about.is_file() => self.read(path),
            // A socket or a pipe holds nothing.
            Ok(_) => {}
            Err(error) => self.missed(path, error.kind()),
        }
    }

    fn read(&mut self, path: &Path) {
        let name = path.strip_prefix(self.root).unwrap_or(path).display().to_string();
        let found = File::open(path).and_then(|file| self.scanner.scan(&self.place.within(&name), file));
        match found {
            Ok(findings) => {
                self.scan.findings.add(findings);
                self.scan.files += 1;
            }
            Err(error) => self.missed(path, error.kind()),
        }
    }

    fn missed(&mut self, path: &Path, kind: io::ErrorKind) {
        if kind == io::ErrorKind::NotFound {
            self.scan.vanished += 1;
        } else {
            self.scan.unreadable.push((path.to_owned(), kind));
        }
    }
}
