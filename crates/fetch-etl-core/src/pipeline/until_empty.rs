use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Delivery, Rejected};

/// How many receives in a row must bring nothing new before a queue counts as empty. Two, because the first may have been
/// under way while the last messages were being given back.
const QUIET_RECEIVES: u32 = 2;

/// Tells when a queue is empty but for messages that were rejected in this run, stayed in the queue and came back.
///
/// It keeps a 64-bit hash of the queue's id of each of them (not of the key, which several messages may have): 8 bytes each, and a
/// collision, which would at worst count one new message as an old one for the purpose of ending, is out of reach.
#[derive(Default)]
pub(super) struct UntilEmpty {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    left: HashSet<u64>,
    quiet: u32,
}

impl UntilEmpty {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a receive brought.
    pub(super) fn received(&self, deliveries: &[Delivery]) {
        let mut state = self.state();
        let is_new = |delivery: &Delivery| !state.left.contains(&self.hasher.hash_one(&*delivery.id));
        let any_new = deliveries.iter().any(is_new);
        state.quiet = if any_new { 0 } else { state.quiet.saturating_add(1) };
    }

    /// Notes messages that were rejected and stay in the queue.
    pub(super) fn left<'r>(&self, rejects: impl Iterator<Item = &'r Rejected>) {
        let hashes = rejects.map(|rejected| self.hasher.hash_one(rejected.message_id()));
        self.state().left.extend(hashes);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.state().quiet >= QUIET_RECEIVES
    }

    /// Different messages that were rejected and stay in the queue.
    pub(super) fn messages_left(&self) -> u64 {
        self.state().left.len() as u64
    }
}
