//! Batch calls: SQS answers for each entry by itself.

use aws_sdk_sqs::types::BatchResultErrorEntry;
use fetch_etl_core::ErrorClass;

use crate::failure::{Failure, Reason};

/// The id of an entry: its place in the batch.
pub(crate) fn id(index: usize) -> String {
    index.to_string()
}

/// What became of the entries of a batch, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcomes {
    operation: &'static str,
    /// `None` is success.
    failed: Vec<Option<EntryFailure>>,
}

/// An entry that failed, as an answer says it.
pub(crate) struct FailedEntry<'a> {
    pub(crate) id: &'a str,
    pub(crate) code: &'a str,
    pub(crate) sender_fault: bool,
}

impl<'a> From<&'a BatchResultErrorEntry> for FailedEntry<'a> {
    fn from(entry: &'a BatchResultErrorEntry) -> Self {
        Self { id: entry.id(), code: entry.code(), sender_fault: entry.sender_fault() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EntryFailure {
    reason: Reason,
    code: Option<Box<str>>,
}

impl Outcomes {
    /// Puts an answer in order. What it does not mention has failed as far as we know, and what it mentions twice too.
    pub(crate) fn new<'a>(
        operation: &'static str,
        entries: usize,
        successful: impl IntoIterator<Item = &'a str>,
        failed: impl IntoIterator<Item = FailedEntry<'a>>,
    ) -> Self {
        let unanswered = EntryFailure { reason: Reason::Unanswered, code: None };
        let mut outcomes = vec![Some(unanswered); entries];
        let mut set = |id: &str, outcome| {
            if let Some(slot) = id.parse().ok().and_then(|index: usize| outcomes.get_mut(index)) {
                *slot = outcome;
            }
        };
        for id in successful {
            set(id, None);
        }
        for FailedEntry { id, code, sender_fault } in failed {
            let reason = Reason::of_entry(code, sender_fault);
            set(id, Some(EntryFailure { reason, code: Some(code.into()) }));
        }
        Self { operation, failed: outcomes }
    }

    /// Why each entry failed; `None` is success.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = Option<Reason>> + '_ {
        self.failed.iter().map(|entry| entry.as_ref().map(|failure| failure.reason))
    }

    /// The failure to report among those that count: one that may pass before others, for then it is worth another try.
    pub(crate) fn worst(&self, counts: impl Fn(Reason) -> bool) -> Option<Failure> {
        let counting = || self.failed.iter().flatten().filter(|entry| counts(entry.reason));
        let retryable = counting().find(|entry| entry.reason.class() == ErrorClass::Retryable);
        let entry = retryable.or_else(|| counting().next())?;
        Some(Failure::of_entry(self.operation, entry.reason, entry.code.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed<'a>(id: &'a str, code: &'a str, sender_fault: bool) -> FailedEntry<'a> {
        FailedEntry { id, code, sender_fault }
    }

    #[test]
    fn each_entry_gets_its_own_outcome() {
        let answer = [failed("3", "ReceiptHandleIsInvalid", true), failed("1", "InternalError", false)];
        let outcomes = Outcomes::new("DeleteMessageBatch", 5, ["0", "4"], answer);
        let expected =
            [None, Some(Reason::ServiceFailed), Some(Reason::Unanswered), Some(Reason::NotInFlight), None];
        assert_eq!(outcomes.reasons().collect::<Vec<_>>(), expected);
        assert_eq!(
            outcomes.worst(|_| true).map(|failure| failure.to_string()).as_deref(),
            Some("DeleteMessageBatch: the service failed (InternalError)")
        );
        let only_final = outcomes.worst(|reason| reason.class() == ErrorClass::Fatal);
        assert_eq!(
            only_final.map(|failure| failure.to_string()).as_deref(),
            Some("DeleteMessageBatch: the receipt is of nothing that is in flight (ReceiptHandleIsInvalid)")
        );
        assert_eq!(outcomes.worst(|_| false), None);
    }

    #[test]
    fn ids_that_we_never_sent_change_nothing() {
        let answer =
            [failed("7", "InternalError", false), failed("", "InternalError", false), failed("x", "y", true)];
        let outcomes = Outcomes::new("X", 2, ["1", "9", "-1", "18446744073709551616"], answer);
        assert_eq!(outcomes.reasons().collect::<Vec<_>>(), [Some(Reason::Unanswered), None]);
    }
}
