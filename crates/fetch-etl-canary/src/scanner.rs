use std::fmt;
use std::io::{self, Read};

use crate::encoding::Source;
use crate::needles::{NeedleBytes, Needles};
use crate::{Canaries, Encoding, Field, Finding, Findings, Form, Place, Right, Writing};

/// What else is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Digests.
    pub hashes: Hashes,
}

/// Which digests of a value are a leak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hashes {
    /// None: the masks are digests themselves.
    #[default]
    Allowed,
    /// All without a salt or a key, for where masks are keyed: whoever guesses the value can check the guess.
    Unsalted,
}

/// Finds all canaries, in all encodings, in one pass. No boundary between two reads can hide anything.
pub struct Scanner {
    needles: Needles,
    /// What each needle says, by its number.
    meanings: Vec<Meaning>,
    owners: Vec<Owner>,
    plants: Vec<Plant>,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("canaries", &self.owners.len())
            .field("needles", &self.meanings.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Meaning {
    owner: u32,
    encoding: Encoding,
}

/// What is said of a canary that was found.
struct Owner {
    set: &'static str,
    number: u32,
    message: u32,
    field: Field,
    right: Right,
}

/// One canary, written in one way, for a proof that this scanner finds it. `Debug` shows no value.
#[derive(Clone)]
pub struct Plant {
    /// How it is written.
    pub encoding: Encoding,
    /// The set of the canary.
    pub set: &'static str,
    /// The canary.
    pub canary: u32,
    bytes: Vec<u8>,
}

impl Plant {
    /// What to put into a stream.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "canary {} of {}, {}", self.canary, self.set, self.encoding)
    }
}

impl Scanner {
    /// A scanner for one set of canaries.
    pub fn new(canaries: &Canaries, options: Options) -> Self {
        Self::of_all([(canaries, options)])
    }

    /// A scanner for several sets of canaries at once.
    pub fn of_all<'a>(sets: impl IntoIterator<Item = (&'a Canaries, Options)>) -> Self {
        let mut builder = Builder::default();
        for (canaries, options) in sets {
            builder.add(canaries, options);
        }
        builder.build()
    }

    /// Begins to scan something that comes in pieces.
    pub fn start(&self, place: &Place) -> Scan<'_> {
        Scan { scanner: self, place: place.clone(), end: Vec::new(), findings: Findings::default() }
    }

    /// Scans a stream to its end.
    ///
    /// # Errors
    /// It could not be read.
    pub fn scan(&self, place: &Place, mut stream: impl Read) -> io::Result<Findings> {
        let mut scan = self.start(place);
        let mut piece = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut piece) {
                Ok(0) => return Ok(scan.finish()),
                Ok(bytes) => scan.feed(&piece[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One canary for each encoding that is looked for, of those that may be nowhere. Whoever puts them into a copy of a stream must find them all,
    /// or the scan of that stream proves nothing.
    pub fn plants(&self) -> &[Plant] {
        &self.plants
    }

    /// How many different byte sequences are looked for.
    pub fn needles(&self) -> usize {
        self.meanings.len()
    }
}

/// A scan under way.
pub struct Scan<'s> {
    scanner: &'s Scanner,
    place: Place,
    /// The end of what came: a needle may begin in it.
    end: Vec<u8>,
    findings: Findings,
}

impl fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("place", &self.place)
            .field("bytes", &self.findings.bytes)
            .finish_non_exhaustive()
    }
}

impl Scan<'_> {
    /// Scans the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let Self { scanner, place, end, findings } = self;
        let known = end.len();
        let begin = findings.bytes - known as u64;
        end.extend_from_slice(piece);
        scanner.needles.find(end, known, |at, needle| {
            let meaning = scanner.meanings[needle as usize];
            note(scanner, place, findings, meaning, begin + at as u64);
        });
        findings.bytes += piece.len() as u64;
        end.drain(..end.len().saturating_sub(scanner.needles.longest() - 1));
    }

    /// Ends it.
    pub fn finish(self) -> Findings {
        self.findings
    }
}

fn note(scanner: &Scanner, place: &Place, findings: &mut Findings, meaning: Meaning, offset: u64) {
    let owner = &scanner.owners[meaning.owner as usize];
    let is_as_stored = meaning.encoding == Encoding { form: Form::AsSent, writing: Writing::Raw };
    if place.holds_rows() && owner.right == Right::Rows && is_as_stored {
        findings.allowed += 1;
        return;
    }
    findings.total += 1;
    if findings.first.len() < Findings::KEPT {
        findings.first.push(Finding {
            place: place.name().to_owned(),
            offset,
            set: owner.set,
            canary: owner.number,
            message: owner.message,
            field: owner.field,
            encoding: meaning.encoding,
        });
    }
}

#[derive(Default)]
struct Builder {
    needles: NeedleBytes,
    meanings: Vec<Meaning>,
    owners: Vec<Owner>,
    plants: Vec<Plant>,
}

impl Builder {
    fn add(&mut self, canaries: &Canaries, options: Options) {
        for canary in canaries.all() {
            let owner = self.owners.len() as u32;
            self.owners.push(Owner {
                set: canaries.name(),
                number: canary.number(),
                message: canary.message(),
                field: canary.field(),
                right: canary.right(),
            });
            // What a row stores in clear has nothing to hide in a digest.
            let with_digests = options.hashes == Hashes::Unsalted && canary.right() == Right::Nowhere;
            let mut known: Vec<Vec<u8>> = Vec::new();
            for source in Source::of(canary.value(), with_digests) {
                for (encoding, needle) in source.needles() {
                    if known.contains(&needle) {
                        continue;
                    }
                    self.meanings.push(Meaning { owner, encoding });
                    self.needles.push(&needle);
                    if canary.right() == Right::Nowhere
                        && self.plants.iter().all(|plant| plant.encoding != encoding)
                    {
                        self.plants.push(Plant {
                            encoding,
                            set: canaries.name(),
                            canary: canary.number(),
                            bytes: source.write(encoding.writing),
                        });
                    }
                    known.push(needle);
                }
            }
        }
    }

    fn build(self) -> Scanner {
        let Self { needles, meanings, owners, mut plants } = self;
        plants.sort_by_key(|plant| plant.encoding);
        Scanner { needles: Needles::new(needles), meanings, owners, plants }
    }
}
