use crate::canaries::Canaries;
use crate::kinds::{FATAL, GOOD, MIXED, REFUSED, REFUSED_MARK};
use crate::{Hashes, Options, Scanner};

/// All canaries of one leak test, from one seed: whoever knows the seed and the number of messages can scan for them later, too.
///
/// ```no_run
/// use std::path::Path;
/// use fetch_etl_canary::{Campaign, Place};
///
/// // After: etl-worker leak-test --seed 7 --messages 1000 --keep --database-url …
/// let scanner = Campaign::new(7, 1000).scanner();
/// let scan = scanner.scan_directory(&Place::with_rows("the data directory"), Path::new("/var/lib/postgresql/15/main"))?;
/// assert!(scan.findings.is_clean(), "{}", scan.findings.first[0]);
/// assert!(scan.findings.allowed > 0, "its rows are somewhere else");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Campaign {
    /// For a worker that masks with a key, and seals what it rejects.
    pub keyed: Canaries,
    /// For a worker that masks without a key: of these, digests are no finding.
    pub plain: Canaries,
    /// For a worker that panics with a value in the message. They never become rows.
    pub panicking: Canaries,
    /// For a database that refuses their rows and quotes them; see [`REFUSED_LOCALES`](Self::REFUSED_LOCALES).
    pub refused: Canaries,
    /// For a worker that leaks on purpose; one message.
    pub planted: Canaries,
}

impl Campaign {
    /// The end of the locales of the [`refused`](Self::refused) logins, by which a constraint can know them.
    pub const REFUSED_LOCALES: &str = REFUSED_MARK;

    /// The canaries of a leak test with this seed and so many messages. The messages are those of `keyed`; the others are fewer.
    pub fn new(seed: u64, messages: u32) -> Self {
        // Neighbouring seeds must not share canaries, so the parts have seeds that are far from each other.
        let seed_of = |part: u64| seed ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            keyed: Canaries::made_of(&MIXED, "keyed", seed_of(0), messages),
            plain: Canaries::made_of(&MIXED, "plain", seed_of(1), messages.div_ceil(4)),
            panicking: Canaries::made_of(&[FATAL], "panicking", seed_of(2), 10),
            refused: Canaries::made_of(&[GOOD, REFUSED], "refused", seed_of(3), 20),
            planted: Canaries::made_of(&[GOOD], "planted", seed_of(4), 1),
        }
    }

    /// All of its parts.
    pub fn parts(&self) -> [&Canaries; 5] {
        let Self { keyed, plain, panicking, refused, planted } = self;
        [keyed, plain, panicking, refused, planted]
    }

    /// Finds all of them.
    pub fn scanner(&self) -> Scanner {
        let keyed = Options { hashes: Hashes::Unsalted };
        let plain = Options { hashes: Hashes::Allowed };
        Scanner::of_all([
            (&self.keyed, keyed),
            (&self.plain, plain),
            (&self.panicking, keyed),
            (&self.refused, keyed),
            (&self.planted, keyed),
        ])
    }
}
