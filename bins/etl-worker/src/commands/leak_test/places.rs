//! Scanning places, and proving of each that the scan works.

use std::collections::HashSet;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use fetch_etl_canary::{DirectoryScan, Finding, Findings, Place, Scan, Scanner};

/// How much of a place is kept to plant values in.
const SAMPLE: usize = 1024 * 1024;

/// A place that was looked at.
pub(super) struct Looked {
    pub(super) place: Place,
    pub(super) findings: Findings,
    /// How many values were planted into a copy, and how many of them were found.
    pub(super) planted: usize,
    pub(super) found: usize,
}

impl Looked {
    pub(super) fn is_proven(&self) -> bool {
        self.planted > 0 && self.found == self.planted
    }
}

/// Everything that was looked at, and what could not be.
#[derive(Default)]
pub(super) struct Search {
    pub(super) looked: Vec<Looked>,
    pub(super) not_looked: Vec<String>,
}

impl Search {
    /// Scans what is in memory.
    pub(super) fn bytes(&mut self, scanner: &Scanner, place: Place, bytes: &[u8]) {
        let mut look = Look::new(scanner, place);
        look.feed(bytes);
        self.looked.push(look.finish());
    }

    /// Takes in what came in pieces.
    pub(super) fn add(&mut self, look: Look<'_>) {
        self.looked.push(look.finish());
    }

    /// Scans files, and all files of trees, as one place. Their paths are told as seen from `root`.
    pub(super) fn files(&mut self, scanner: &Scanner, place: Place, root: &Path, paths: &[PathBuf]) {
        let mut findings = Findings::default();
        let mut unreadable = Vec::new();
        for path in paths {
            let name = path.strip_prefix(root).unwrap_or(path).display();
            let part = Place::with_rows(format!("{}, {name}", place.name()));
            let scanned = if path.is_dir() {
                scanner.scan_directory(&part, path)
            } else {
                let scanned = File::open(path).and_then(|file| scanner.scan(&part, file));
                scanned.map(|findings| DirectoryScan { findings, ..DirectoryScan::default() })
            };
            match scanned {
                Ok(scan) => {
                    findings.add(scan.findings);
                    unreadable.extend(scan.unreadable);
                }
                // Files come and go.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => unreadable.push((path.clone(), error.kind())),
            }
        }
        if let Some((path, kind)) = unreadable.first() {
            let because = format!("they cannot be read, such as {} ({kind})", path.display());
            self.not_looked(&format!("{} of {}", unreadable.len(), place.name()), &because);
        }
        let (planted, found) = prove(scanner, &place, &first_bytes(paths));
        self.looked.push(Looked { place, findings, planted, found });
    }

    pub(super) fn not_looked(&mut self, what: &str, because: &str) {
        self.not_looked.push(format!("not looked at: {what}, because {because}"));
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.looked.iter().flat_map(|looked| &looked.findings.first)
    }

    pub(super) fn total(&self) -> u64 {
        self.looked.iter().map(|looked| looked.findings.total).sum()
    }
}

/// A look at one place, piece by piece.
pub(super) struct Look<'s> {
    scanner: &'s Scanner,
    place: Place,
    scan: Scan<'s>,
    sample: Vec<u8>,
}

impl<'s> Look<'s> {
    pub(super) fn new(scanner: &'s Scanner, place: Place) -> Self {
        Self { scanner, scan: scanner.start(&place), place, sample: Vec::new() }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.scan.feed(piece);
        let room = SAMPLE.saturating_sub(self.sample.len());
        self.sample.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    fn finish(self) -> Looked {
        let (planted, found) = prove(self.scanner, &self.place, &self.sample);
        Looked { place: self.place, findings: self.scan.finish(), planted, found }
    }
}

/// Plants one value in each encoding into a copy of what is there, all over it, and counts how many are found.
fn prove(scanner: &Scanner, place: &Place, sample: &[u8]) -> (usize, usize) {
    let plants = scanner.plants();
    let mut scan = scanner.start(place);
    let piece = sample.len() / (plants.len() + 1);
    for (index, plant) in plants.iter().enumerate() {
        scan.feed(&sample[index * piece..(index + 1) * piece]);
        scan.feed(b" ");
        scan.feed(plant.bytes());
        scan.feed(b" ");
    }
    scan.feed(&sample[plants.len() * piece..]);
    let findings = scan.finish();
    let found: HashSet<_> =
        findings.first.iter().map(|finding| (finding.set, finding.canary, finding.encoding)).collect();
    let found =
        plants.iter().filter(|plant| found.contains(&(plant.set, plant.canary, plant.encoding))).count();
    (plants.len(), found)
}

/// The beginnings of some files.
fn first_bytes(paths: &[PathBuf]) -> Vec<u8> {
    let in_directory = |path: &PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        if path.is_dir() { entries.map(|entry| entry.path()).collect() } else { vec![path.clone()] }
    };
    let mut bytes = Vec::new();
    for path in paths.iter().flat_map(in_directory).filter(|path| path.is_file()) {
        let room = (SAMPLE - bytes.len()) as u64;
        // What cannot be read is told elsewhere.
        let _ = File::open(path).and_then(|file| file.take(room).read_to_end(&mut bytes));
    }
    bytes
}
