//! Whether a fault happens now.

use super::{FaultKind, FaultPlan};
use crate::receipt::mix;

const KINDS: usize = FaultKind::ALL.len();
/// The increment of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A plan at work in one queue.
///
/// There is no generator whose state the kinds would share: the n-th throw for a kind is computed from the key of that
/// kind and n, so that it comes out the same whatever else happens in between.
pub(crate) struct Dice {
    plan: FaultPlan,
    keys: [u64; KINDS],
    throws: [u64; KINDS],
    happened: [u64; KINDS],
}

impl Dice {
    pub(crate) fn new(plan: FaultPlan, queue: &str) -> Self {
        let key = mix(plan.seed ^ mix(name_hash(queue)));
        let keys =
            FaultKind::ALL.map(|kind| mix(key.wrapping_add(GOLDEN.wrapping_mul(kind.index() as u64 + 1))));
        Self { plan, keys, throws: [0; KINDS], happened: [0; KINDS] }
    }

    pub(crate) fn plan(&self) -> &FaultPlan {
        &self.plan
    }

    /// Throws the dice for a kind. `Some` if the fault is to happen, with a number for whatever is left to chance then.
    ///
    /// Each opportunity is one throw, also when the fault then turns out to be impossible; only
    /// [`happened`](Self::happened) counts against a limit.
    pub(crate) fn throw(&mut self, kind: FaultKind) -> Option<u64> {
        let rule = self.plan.rule(kind)?;
        let index = kind.index();
        let number = self.throws[index];
        self.throws[index] += 1;
        if self.is_exhausted(kind) {
            return None;
        }
        let thrown = mix(self.keys[index].wrapping_add(GOLDEN.wrapping_mul(number + 1)));
        // The upper 53 bits make a float in [0, 1) with no rounding; 1 is above all of them, 0 above none.
        let fraction = (thrown >> 11) as f64 / (1_u64 << 53) as f64;
        (fraction < rule.probability()).then(|| mix(thrown))
    }

    /// Whether a fault has happened as often as it may.
    pub(crate) fn is_exhausted(&self, kind: FaultKind) -> bool {
        let limit = self.plan.rule(kind).and_then(|rule| rule.limit());
        limit.is_some_and(|limit| self.happened[kind.index()] >= limit)
    }

    pub(crate) fn happened(&mut self, kind: FaultKind) {
        self.happened[kind.index()] += 1;
    }
}

/// FNV-1a: the standard library's hashes may differ from one release to the next, and with them the faults of a seed.
fn name_hash(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> FaultPlan {
        text.parse().unwrap()
    }

    fn throws(dice: &mut Dice, kind: FaultKind, times: usize) -> Vec<Option<u64>> {
        (0..times).map(|_| dice.throw(kind)).collect()
    }

    #[test]
    fn a_seed_repeats_and_queues_and_kinds_differ() {
        let sequence = |text: &str, queue: &str, kind| throws(&mut Dice::new(plan(text), queue), kind, 200);
        let first = sequence("keep=0.5,reorder=0.5,seed=1", "q", FaultKind::Keep);
        assert_eq!(first, sequence("keep=0.5,seed=1", "q", FaultKind::Keep), "other kinds do not matter");
        assert_ne!(first, sequence("keep=0.5,seed=2", "q", FaultKind::Keep));
        assert_ne!(first, sequence("keep=0.5,seed=1", "p", FaultKind::Keep));
        assert_ne!(first, sequence("reorder=0.5,seed=1", "q", FaultKind::Reorder));
    }

    #[test]
    fn a_seed_means_the_same_in_every_release() {
        let mut dice = Dice::new(plan("keep=0.5,seed=1"), "logins");
        let happened: String = throws(&mut dice, FaultKind::Keep, 32)
            .iter()
            .map(|thrown| if thrown.is_some() { '1' } else { '0' })
            .collect();
        assert_eq!(happened, "10010010010100000010001111011000", "as another implementation computes it");
    }

    #[test]
    fn throws_of_one_kind_do_not_depend_on_the_others() {
        let mut alone = Dice::new(plan("keep=0.5,slow=0.5"), "q");
        let mut mixed = Dice::new(plan("keep=0.5,slow=0.5"), "q");
        let expected = throws(&mut alone, FaultKind::Keep, 100);
        let interleaved: Vec<_> = (0..100)
            .map(|i| {
                throws(&mut mixed, FaultKind::Slow, i % 3);
                mixed.throw(FaultKind::Keep)
            })
            .collect();
        assert_eq!(interleaved, expected);
    }

    #[test]
    fn probabilities_are_kept() {
        for (text, expected) in [("keep=0", 0..=0), ("keep=0.2", 1_850..=2_150), ("keep=1", 10_000..=10_000)]
        {
            let happened = throws(&mut Dice::new(plan(text), "q"), FaultKind::Keep, 10_000);
            let count = happened.iter().flatten().count();
            assert!(expected.contains(&count), "{text}: {count} of 10,000");
        }
        assert_eq!(Dice::new(FaultPlan::new(1), "q").throw(FaultKind::Keep), None, "it is not in the plan");
    }

    #[test]
    fn a_limit_holds_for_what_happened() {
        let mut dice = Dice::new(plan("keep=1x2"), "q");
        assert!(dice.throw(FaultKind::Keep).is_some(), "this one turns out to be impossible");
        for _ in 0..2 {
            assert!(dice.throw(FaultKind::Keep).is_some());
            dice.happened(FaultKind::Keep);
        }
        assert_eq!(dice.throw(FaultKind::Keep), None);
    }
}
