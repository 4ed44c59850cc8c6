use std::fmt;

use crate::{Encoding, Field};

/// Something that is scanned, and whether rows may be in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
    holds_rows: bool,
}

impl Place {
    /// A place where no value may be: a log, an output, the quarantine, a metric.
    pub fn nowhere(name: impl Into<String>) -> Self {
        Self { name: name.into(), holds_rows: false }
    }

    /// A place that holds the rows of `user_logins` by design: the table, its dump, the files of its database. What a row stores
    /// as it is may be there as it was sent, raw; all else may not.
    pub fn with_rows(name: impl Into<String>) -> Self {
        Self { name: name.into(), holds_rows: true }
    }

    /// The name that findings say.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether rows may be there.
    pub fn holds_rows(&self) -> bool {
        self.holds_rows
    }

    pub(crate) fn within(&self, file: &str) -> Self {
        Self { name: format!("{}: {file}", self.name), holds_rows: self.holds_rows }
    }
}

/// A canary where it may not be. It tells which, where and how it was written, and never the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: String,
    /// Position of the first byte of what was looked for, from 0.
    pub offset: u64,
    /// The name of the set of canaries.
    pub set: &'static str,
    /// The canary's number in it.
    pub canary: u32,
    /// The message that it came with.
    pub message: u32,
    /// Where in the message.
    pub field: Field,
    /// How it was written.
    pub encoding: Encoding,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, offset, set, canary, message, field, encoding } = self;
        write!(
            f,
            "{place}, at byte {offset}: canary {canary} of {set} ({field} of message {message}), {encoding}"
        )
    }
}

/// What a scan has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many bytes were looked at.
    pub bytes: u64,
    /// How many values were where they may not be; one that stands in two places counts twice.
    pub total: u64,
    /// The first of them, at most [`KEPT`](Self::KEPT).
    pub first: Vec<Finding>,
    /// How many were where they may be. A place that should hold rows and holds none of them was not the place.
    pub allowed: u64,
}

impl Findings {
    /// Most findings that are kept of one scan: a place that is full of leaks needs no list of all.
    pub const KEPT: usize = 1_000;

    /// Whether nothing was found that may not be there.
    pub fn is_clean(&self) -> bool {
        self.total == 0
    }

    /// Takes in what another scan has found.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.total += other.total;
        self.allowed += other.allowed;
        let room = Self::KEPT.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}
