use std::fmt;
use std::io::{self, Read};

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::{contiguous, noncontiguous};

use crate::encoding::Source;
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

/// There are too many canaries for one scanner.
#[derive(Debug)]
pub struct BuildError(());

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many canaries for one scanner")
    }
}

impl std::error::Error for BuildError {}

/// Finds all canaries, in all encodings, in one pass.
///
/// It works through a stream byte by byte and keeps its state, so that no boundary between two reads can hide anything.
pub struct Scanner {
    automaton: contiguous::NFA,
    start: StateID,
    needles: Vec<Needle>,
    owners: Vec<Owner>,
    plants: Vec<Plant>,
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("canaries", &self.owners.len())
            .field("needles", &self.needles.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Needle {
    owner: u32,
    encoding: Encoding,
    bytes: u16,
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
    ///
    /// # Errors
    /// There are too many of them: some ten million needles are the limit.
    pub fn new(canaries: &Canaries, options: Options) -> Result<Self, BuildError> {
        Self::of_all([(canaries, options)])
    }

    /// A scanner for several sets of canaries at once.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn of_all<'a>(sets: impl IntoIterator<Item = (&'a Canaries, Options)>) -> Result<Self, BuildError> {
        let mut builder = Builder::default();
        for (canaries, options) in sets {
            builder.add(canaries, options);
        }
        builder.build()
    }

    /// Begins to scan something that comes in pieces.
    pub fn start(&self, place: &Place) -> Scan<'_> {
        Scan { scanner: self, place: place.clone(), state: self.start, findings: Findings::default() }
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
        self.needles.len()
    }

    /// Bytes of memory that the search takes.
    pub fn memory_bytes(&self) -> usize {
        self.automaton.memory_usage() + self.needles.len() * size_of::<Needle>()
    }
}

/// A scan under way.
#[derive(Debug)]
pub struct Scan<'s> {
    scanner: &'s Scanner,
    place: Place,
    state: StateID,
    findings: Findings,
}

impl Scan<'_> {
    /// Scans the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        let automaton = &self.scanner.automaton;
        let mut state = self.state;
        for (at, &byte) in piece.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_special(state) && automaton.is_match(state) {
                let end = self.findings.bytes + at as u64 + 1;
                for index in 0..automaton.match_len(state) {
                    let needle = self.scanner.needles[automaton.match_pattern(state, index).as_usize()];
                    self.note(needle, end);
                }
            }
        }
        self.state = state;
        self.findings.bytes += piece.len() as u64;
    }

    /// Ends it.
    pub fn finish(self) -> Findings {
        self.findings
    }

    fn note(&mut self, needle: Needle, end: u64) {
        let owner = &self.scanner.owners[needle.owner as usize];
        let is_as_stored = needle.encoding == Encoding { form: Form::AsSent, writing: Writing::Raw };
        if self.place.holds_rows() && owner.right == Right::Rows && is_as_stored {
            self.findings.allowed += 1;
            return;
        }
        self.findings.total += 1;
        if self.findings.first.len() < Findings::KEPT {
            self.findings.first.push(Finding {
                place: self.place.name().to_owned(),
                offset: end - u64::from(needle.bytes),
                set: owner.set,
                canary: owner.number,
                message: owner.message,
                field: owner.field,
                encoding: needle.encoding,
            });
        }
    }
}

#[derive(Default)]
struct Builder {
    needles: Vec<Needle>,
    owners: Vec<Owner>,
    plants: Vec<Plant>,
    /// The needles one behind the other: half a million small vectors would cost more than what is in them.
    bytes: Vec<u8>,
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
                    self.needles.push(Needle { owner, encoding, bytes: needle.len() as u16 });
                    self.bytes.extend_from_slice(&needle);
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

    fn build(self) -> Result<Scanner, BuildError> {
        let Self { needles, owners, mut plants, bytes } = self;
        let mut rest = bytes.as_slice();
        let patterns = needles.iter().map(|needle| {
            let (first, others) = rest.split_at(usize::from(needle.bytes));
            rest = others;
            first
        });
        let tree =
            noncontiguous::Builder::new().prefilter(false).build(patterns).map_err(|_| BuildError(()))?;
        drop(bytes);
        let automaton =
            contiguous::Builder::new().build_from_noncontiguous(&tree).map_err(|_| BuildError(()))?;
        drop(tree);
        let start = automaton.start_state(Anchored::No).map_err(|_| BuildError(()))?;
        plants.sort_by_key(|plant| plant.encoding);
        Ok(Scanner { automaton, start, needles, owners, plants })
    }
}
