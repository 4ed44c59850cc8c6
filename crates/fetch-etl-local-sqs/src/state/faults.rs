//! What the queue does wrong when it is told to. Without a plan none of this costs more than looking whether there is
//! one.

use std::collections::VecDeque;

use super::{Parcel, QueueState, Slot, Stored, is_ready};
use crate::fault::{Dice, FaultKind, FaultPlan};
use crate::state::Place;

/// A plan at work, and what it has in store.
pub(super) struct Faults {
    dice: Dice,
    /// Messages in flight that the next receive delivers again, each with its serial number.
    again: VecDeque<(Slot, u64)>,
}

/// A fault that befalls an entry of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryFault {
    Sender,
    Service,
}

impl QueueState {
    /// Puts a plan to work instead of the one before; an empty one ends all faults. The dice start afresh, the counts go
    /// on.
    pub(crate) fn set_faults(&mut self, plan: FaultPlan, queue: &str) {
        let faults = || Box::new(Faults { dice: Dice::new(plan.clone(), queue), again: VecDeque::new() });
        self.faults = (!plan.is_empty()).then(faults);
    }

    /// The plan at work, if any.
    pub(crate) fn fault_plan(&self) -> Option<&FaultPlan> {
        self.faults.as_ref().map(|faults| faults.dice.plan())
    }

    /// Throws the dice for a fault that is possible now, and counts it if it is to happen.
    pub(crate) fn strikes(&mut self, kind: FaultKind) -> bool {
        let strikes = self.throw(kind).is_some();
        if strikes {
            self.happened(kind);
        }
        strikes
    }

    /// Throws the dice for a fault that may turn out to be impossible.
    pub(crate) fn throw(&mut self, kind: FaultKind) -> Option<u64> {
        self.faults.as_mut()?.dice.throw(kind)
    }

    pub(crate) fn happened(&mut self, kind: FaultKind) {
        self.will_happen(kind);
        self.has_happened(kind);
    }

    /// A fault is decided on, which counts against its limit. [`has_happened`](Self::has_happened) is to follow.
    pub(crate) fn will_happen(&mut self, kind: FaultKind) {
        if let Some(faults) = &mut self.faults {
            faults.dice.happened(kind);
        }
    }

    /// A fault that was decided on shows itself, perhaps under another plan by now.
    pub(crate) fn has_happened(&mut self, kind: FaultKind) {
        self.counters.faults.add(kind);
    }

    /// What befalls the next entry of a batch.
    pub(crate) fn entry_fault(&mut self) -> Option<EntryFault> {
        if self.strikes(FaultKind::EntrySenderFault) {
            return Some(EntryFault::Sender);
        }
        self.strikes(FaultKind::EntryServiceFault).then_some(EntryFault::Service)
    }

    /// As [`entry_fault`](Self::entry_fault), for the entries of a batch of messages to be sent.
    pub(crate) fn sent_entry_fault(&mut self) -> Option<EntryFault> {
        self.fault_plan().is_some_and(FaultPlan::befalls_sends).then(|| self.entry_fault()).flatten()
    }

    /// Whether a message in flight waits to be delivered again.
    pub(super) fn has_redelivery(&self) -> bool {
        self.redeliveries() > 0
    }

    /// How many messages in flight wait to be delivered again. What a receive delivers, it does not deliver again itself.
    pub(super) fn redeliveries(&self) -> usize {
        self.faults.as_ref().map_or(0, |faults| faults.again.len())
    }

    pub(super) fn forget_redeliveries(&mut self) {
        if let Some(faults) = &mut self.faults {
            faults.again.clear();
        }
    }

    /// Takes a message in flight out of its place, to be delivered again, with `waiting` of them left to look at.
    pub(super) fn pop_redelivery(&mut self, waiting: &mut usize, receive_limit: u32) -> Option<Slot> {
        while *waiting > 0 {
            *waiting -= 1;
            let faults = self.faults.as_mut()?;
            let (slot, serial) = faults.again.pop_front()?;
            if faults.dice.is_exhausted(FaultKind::Redeliver) {
                continue;
            }
            let again = self.messages.get(slot as usize).is_some_and(|message| {
                message.serial == serial
                    && matches!(message.place, Place::InFlight(_))
                    && message.receive_count - message.received_elsewhere < receive_limit
            });
            if again {
                self.unfile(slot);
                self.happened(FaultKind::Redeliver);
                return Some(slot);
            }
        }
        None
    }

    /// Brings some message that is ready to the front, where a receive takes it.
    pub(super) fn reorder(&mut self) {
        if self.faults.is_none() || self.ready_count < 2 {
            return;
        }
        let Some(number) = self.throw(FaultKind::Reorder) else { return };
        while self.ready.front().is_some_and(|&(ticket, slot)| !is_ready(&self.messages, ticket, slot)) {
            self.ready.pop_front();
        }
        let other = 1 + (number % (self.ready.len() as u64 - 1)) as usize;
        // A void entry is no message: the order stays as it is.
        if self.ready.get(other).is_some_and(|&(ticket, slot)| is_ready(&self.messages, ticket, slot)) {
            self.ready.swap(0, other);
            self.happened(FaultKind::Reorder);
        }
    }

    /// What can go wrong after a delivery.
    pub(super) fn after_delivery(&mut self, slot: Slot) {
        if self.faults.is_none() {
            return;
        }
        if self.strikes(FaultKind::StaleHandle) {
            // A new serial number makes the receipt that was just given out one of another message.
            self.messages[slot as usize].serial = self.next_serial;
            self.next_serial += 1;
        }
        if self.throw(FaultKind::Redeliver).is_some() {
            let serial = self.messages[slot as usize].serial;
            self.faults.iter_mut().for_each(|faults| faults.again.push_back((slot, serial)));
        }
    }

    /// What can go wrong after a message was deleted: it was not, in the end.
    pub(super) fn after_deletion(&mut self, message: Stored) {
        if self.strikes(FaultKind::RedeliverDeleted) {
            let slot = self.store(Parcel::from(message));
            self.make_ready(slot);
        }
    }
}
