//! How much is measured.

use std::time::Duration;

/// How many messages, how often, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// What it is called.
    pub name: &'static str,
    /// Messages of one short measurement.
    pub messages: u64,
    /// How often each short measurement is made; the median counts.
    pub repeats: u32,
    /// Rows that are there before the measurement of growth.
    pub stored_rows: u64,
    /// The long backlog. The short one has a tenth of [`messages`](Self::messages).
    pub long_backlog: u64,
    /// How long messages are sent at a steady rate.
    pub latency: Duration,
    /// How long an idle worker is watched.
    pub idle: Duration,
    /// How long another consumer may take; what it did until then counts.
    pub peer: Duration,
}

impl Scale {
    /// A few minutes.
    pub const QUICK: Self = Self {
        name: "quick",
        messages: 100_000,
        repeats: 3,
        stored_rows: 1_000_000,
        long_backlog: 300_000,
        latency: Duration::from_secs(20),
        idle: Duration::from_secs(20),
        peer: Duration::from_secs(60),
    };
    /// Most of an hour, and some 15 GB of disk.
    pub const FULL: Self = Self {
        name: "full",
        // More than Postgres's buffers hold, so that a database that was empty at first writes pages out like any other.
        messages: 300_000,
        repeats: 5,
        stored_rows: 10_000_000,
        long_backlog: 1_000_000,
        latency: Duration::from_secs(60),
        idle: Duration::from_secs(60),
        peer: Duration::from_secs(300),
    };
    /// For the test of the benchmark itself: every step, with hardly anything in it. Its figures mean nothing.
    pub const SMOKE: Self = Self {
        name: "smoke",
        messages: 300,
        repeats: 1,
        stored_rows: 500,
        long_backlog: 400,
        latency: Duration::from_secs(1),
        idle: Duration::from_secs(1),
        peer: Duration::from_secs(60),
    };

    /// Messages of the short backlog.
    pub const fn short_backlog(&self) -> u64 {
        self.messages / 10
    }
}
