//! Faults on demand: what a queue can be told to do wrong, how often, and how often it did.

mod action;
mod dice;
mod plan;

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

pub use action::CallAction;
pub(crate) use dice::Dice;
pub use plan::{FaultPlan, PlanError, Rule};

/// What can go wrong on purpose. Each is something that the real service, or the network on the way to it, may do.
///
/// The first five befall messages, the next two entries of batches, the others whole calls. Of the ones for whole calls
/// at most one befalls a call, the first in this order; only [`Slow`](Self::Slow) and [`SlowBefore`](Self::SlowBefore) come
/// on top of any other that lets the call have its effect. [`FaultPlan::only_calls`] keeps them to some calls.
///
/// A fault is counted when it happens: one before the effect of a call when the call is refused or held up, one after it as soon as
/// the call has had its effect, before the answer is cut or withheld. So whoever sees the count finds the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A message that is in flight is delivered again by the next receive, with a new receipt. It happens for each
    /// delivery with the probability given, but not where the redrive policy allows no further one.
    Redeliver,
    /// A message that was deleted comes back, ready to be received again. For each delete that deletes something.
    RedeliverDeleted,
    /// A receive takes a message from anywhere among those that are ready instead of the first. For each delivery.
    Reorder,
    /// A delete succeeds and deletes nothing: the message stays in flight and comes back after its timeout. For each
    /// delete that would delete something.
    Keep,
    /// A message is delivered with a receipt that is already old: deletes with it succeed and delete nothing, and its
    /// visibility cannot be changed. For each delivery.
    StaleHandle,
    /// An entry of a batch has no effect and fails by the sender's fault: it makes no sense to try it again.
    EntrySenderFault,
    /// An entry of a batch has no effect and fails by the service's fault.
    EntryServiceFault,
    /// A call has no effect and is answered with `RequestThrottled` or `ThrottlingException`, by the toss of a coin.
    Throttle,
    /// A call has no effect and is answered with the status 500.
    InternalError,
    /// A call has no effect, and its connection is reset.
    Drop,
    /// A call has no effect, and its connection is closed without an answer.
    CutBefore,
    /// A call has its effect and is answered with the status 500.
    InternalErrorAfter,
    /// A call has its effect, and the connection is closed in the middle of the answer.
    CutAfter,
    /// A call has its effect, and the answer comes late: see [`FaultPlan::slow_by`].
    Slow,
    /// A call has its effect late, by as much as a slow answer is, and perhaps none if its client goes away meanwhile.
    SlowBefore,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Redeliver,
        Self::RedeliverDeleted,
        Self::Reorder,
        Self::Keep,
        Self::StaleHandle,
        Self::EntrySenderFault,
        Self::EntryServiceFault,
        Self::Throttle,
        Self::InternalError,
        Self::Drop,
        Self::CutBefore,
        Self::InternalErrorAfter,
        Self::CutAfter,
        Self::Slow,
        Self::SlowBefore,
    ];

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redeliver => "redeliver",
            Self::RedeliverDeleted => "redeliver-deleted",
            Self::Reorder => "reorder",
            Self::Keep => "keep",
            Self::StaleHandle => "stale-handle",
            Self::EntrySenderFault => "entry-sender-fault",
            Self::EntryServiceFault => "entry-service-fault",
            Self::Throttle => "throttle",
            Self::InternalError => "internal-error",
            Self::Drop => "drop",
            Self::CutBefore => "cut-before",
            Self::InternalErrorAfter => "internal-error-after",
            Self::CutAfter => "cut-after",
            Self::Slow => "slow",
            Self::SlowBefore => "slow-before",
        }
    }

    /// Whether it befalls whole calls, and so has to be thought of before a call reaches its queue.
    pub(crate) fn befalls_calls(self) -> bool {
        self >= Self::Throttle
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = PlanError;

    fn from_str(name: &str) -> Result<Self, PlanError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| PlanError::UnknownKind(name.to_owned()))
    }
}

/// How many faults of each kind a queue has committed. In JSON an object with a number for each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; FaultKind::ALL.len()]);

impl FaultCounts {
    /// Faults of this kind.
    pub fn of(&self, kind: FaultKind) -> u64 {
        self.0[kind.index()]
    }

    /// Faults of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// All kinds with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (FaultKind, u64)> + '_ {
        FaultKind::ALL.into_iter().zip(self.0)
    }

    pub(crate) fn add(&mut self, kind: FaultKind) {
        self.0[kind.index()] += 1;
    }
}

impl Serialize for FaultCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (kind, count) in self.iter() {
            map.serialize_entry(kind.name(), &count)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_one_name_everywhere_and_stand_in_order() {
        for (index, kind) in FaultKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!("Redeliver".parse::<FaultKind>(), Err(PlanError::UnknownKind("Redeliver".into())));
    }

    #[test]
    fn counts_are_kept_by_kind() {
        let mut counts = FaultCounts::default();
        counts.add(FaultKind::Keep);
        counts.add(FaultKind::Slow);
        counts.add(FaultKind::Slow);
        assert_eq!((counts.of(FaultKind::Slow), counts.of(FaultKind::Drop), counts.total()), (2, 0, 3));
        let json = serde_json::to_value(counts).unwrap();
        assert_eq!((&json["keep"], &json["slow"], &json["drop"]), (&1.into(), &2.into(), &0.into()));
    }
}
