use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::{Delivery, Held, Rejected};

/// How many receives in a row must bring nothing new before a queue counts as empty. Two, because the first may have been
/// under way while the last messages were being given back.
const QUIET_RECEIVES: u32 = 2;

/// Tells when a queue is empty but for messages that were rejected in this run and came back.
///
/// It keeps a 64-bit hash of the queue's id of each rejected message: 8 bytes each, and a collision, which would at worst
/// count one new message as an old one for the purpose of ending, is out of reach.
pub(super) struct UntilEmpty {
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rejected: HashSet<u64>,
    quiet: u32,
}

/// The hashes of one receive's ids, in the order of the deliveries.
pub(super) struct Ids(Vec<u64>);

impl UntilEmpty {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), state: Mutex::default() }
    }

    /// Notes what a receive brought.
    pub(super) fn received(&self, deliveries: &[Delivery]) -> Ids {
        let ids: Vec<_> = deliveries.iter().map(|delivery| self.hasher.hash_one(&*delivery.id)).collect();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let any_new = ids.iter().any(|id| !state.rejected.contains(id));
        state.quiet = if any_new { 0 } else { state.quiet.saturating_add(1) };
        Ids(ids)
    }

    /// Notes which messages of a receive were rejected.
    pub(super) fn rejected(&self, ids: &Ids, rejects: &[Rejected]) {
        if rejects.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes = rejects.iter().map(Rejected::held).map(Held::index).filter_map(|index| ids.0.get(index));
        state.rejected.extend(hashes);
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).quiet >= QUIET_RECEIVES
    }

    /// Different messages that were rejected.
    pub(super) fn rejected_messages(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).rejected.len() as u64
    }
}
