//! The state machine of one queue: no I/O, no lock, no clock of its own.
//!
//! Every message of the queue is in exactly one place: *ready*, *delayed* or *in flight*. It leaves the queue in
//! exactly one way: deleted, moved to the dead-letter queue, expired or purged. No operation looks at more messages
//! than it handles: each is O(1), or O(log n) where a deadline is filed, however many messages wait.

#[cfg(test)]
mod fault_tests;
mod faults;
#[cfg(test)]
mod model_tests;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use fastrand::Rng;
use slab::Slab;

use crate::clock::Millis;
use crate::error::{ErrorKind, SqsError};
use crate::fault::FaultKind;
use crate::limits::MAX_VISIBILITY_S;
use crate::message::{Content, Draft, MessageId, Received};
use crate::receipt::Receipt;
use crate::settings::Settings;

pub(crate) use faults::EntryFault;
pub(crate) use stats::Counters;
pub use stats::QueueStats;

type Slot = u32;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the ready list, under this ticket.
    Ready(u64),
    Delayed(Millis),
    InFlight(Millis),
}

struct Stored {
    content: Arc<Content>,
    dead_letter_source: Option<Arc<str>>,
    /// Tells this message from the ones that had the slot before.
    serial: u64,
    sent_at: Millis,
    first_received_at: Millis,
    /// When the latest delivery began: the twelve hours of visibility count from here.
    received_at: Millis,
    /// In all queues that the message has been in.
    receive_count: u32,
    /// Of `receive_count`, those before the message came to this queue: they do not count for its redrive policy.
    received_elsewhere: u32,
    place: Place,
}

/// A message on its way from a queue to its dead-letter queue. It keeps its id, its send time and its receive count.
pub(crate) struct Parcel {
    content: Arc<Content>,
    dead_letter_source: Option<Arc<str>>,
    sent_at: Millis,
    first_received_at: Millis,
    receive_count: u32,
    received_elsewhere: u32,
}

impl From<Stored> for Parcel {
    fn from(message: Stored) -> Self {
        Self {
            content: message.content,
            dead_letter_source: message.dead_letter_source,
            sent_at: message.sent_at,
            first_received_at: message.first_received_at,
            receive_count: message.receive_count,
            received_elsewhere: message.received_elsewhere,
        }
    }
}

/// What a receive takes out of the ready list.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) messages: Vec<Received>,
    /// Messages that had been received too often; they have left the queue.
    pub(crate) dead: Vec<Parcel>,
}

/// Whether a receive applies the redrive policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Redrive {
    Apply,
    /// As if there were no policy: for when the dead-letter queue is gone.
    Ignore,
}

pub(crate) struct QueueState {
    pub(crate) settings: Settings,
    pub(crate) created_at: Millis,
    pub(crate) modified_at: Millis,
    /// Set when the queue is deleted while calls on it are under way.
    pub(crate) deleted: bool,
    messages: Slab<Stored>,
    /// Messages in the order in which they became ready. An entry whose ticket is not its message's any more is
    /// void: it is skipped, once, when it reaches the front.
    ready: VecDeque<(u64, Slot)>,
    ready_count: usize,
    in_flight_count: usize,
    /// When delayed messages and messages in flight become ready.
    timers: BTreeSet<(Millis, Slot)>,
    /// By the time of sending, for the retention period.
    by_age: BTreeSet<(Millis, Slot)>,
    next_ticket: u64,
    next_serial: u64,
    rng: Rng,
    faults: Option<Box<faults::Faults>>,
    pub(crate) counters: Counters,
}

impl QueueState {
    pub(crate) fn new(settings: Settings, now: Millis, rng: Rng) -> Self {
        Self {
            settings,
            created_at: now,
            modified_at: now,
            deleted: false,
            messages: Slab::new(),
            ready: VecDeque::new(),
            ready_count: 0,
            in_flight_count: 0,
            timers: BTreeSet::new(),
            by_age: BTreeSet::new(),
            next_ticket: 0,
            next_serial: 0,
            rng,
            faults: None,
            counters: Counters::default(),
        }
    }

    /// Puts a new message in; it is ready now, or after its delay.
    pub(crate) fn send(&mut self, now: Millis, draft: Draft) -> Result<MessageId, SqsError> {
        let max_bytes = self.settings.max_message_bytes;
        if draft.bytes > max_bytes as usize {
            return Err(SqsError::invalid_parameter(format!(
                "One or more parameters are invalid. Reason: Message must be shorter than {max_bytes} bytes."
            )));
        }
        let delay_s = draft.delay_s.unwrap_or(self.settings.delay_s);
        let id = MessageId::random(&mut self.rng);
        let parcel = Parcel {
            content: draft.with_id(id),
            dead_letter_source: None,
            sent_at: now,
            first_received_at: 0,
            receive_count: 0,
            received_elsewhere: 0,
        };
        let slot = self.store(parcel);
        match delay_s {
            0 => self.make_ready(slot),
            _ => self.file(slot, Place::Delayed(now + seconds(delay_s))),
        }
        self.counters.sent += 1;
        Ok(id)
    }

    /// Takes over a message from a queue whose dead-letter queue this is.
    pub(crate) fn accept(&mut self, source: &Arc<str>, parcel: Parcel) {
        let received_elsewhere = parcel.receive_count;
        let slot =
            self.store(Parcel { dead_letter_source: Some(Arc::clone(source)), received_elsewhere, ..parcel });
        self.make_ready(slot);
        self.counters.moved_in += 1;
    }

    /// Takes back a message whose dead-letter queue turned out not to exist.
    pub(crate) fn take_back(&mut self, parcel: Parcel) {
        let slot = self.store(parcel);
        self.make_ready(slot);
        self.counters.moved_out -= 1;
    }

    /// Brings the queue to the present: timeouts and delays that are over make messages ready, retention ends.
    pub(crate) fn advance(&mut self, now: Millis) {
        while let Some((_, slot)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.counters.steps += 1;
            self.unfile(slot);
            self.make_ready(slot);
        }
        let retention = seconds(self.settings.retention_s);
        while let Some((_, slot)) = self.by_age.first().copied().filter(|(sent, _)| sent + retention <= now) {
            self.counters.steps += 1;
            self.counters.expired += 1;
            self.remove(slot);
        }
    }

    /// Takes up to `max` messages out of the ready list, in the order in which they became ready. They are in flight
    /// for `visibility_s`; with 0 they stay ready, behind all others.
    pub(crate) fn receive(
        &mut self,
        now: Millis,
        max: usize,
        visibility_s: Option<u32>,
        redrive: Redrive,
    ) -> Result<Taken, SqsError> {
        self.advance(now);
        let room = self.settings.in_flight_limit.saturating_sub(self.in_flight_count);
        if room == 0 {
            return Err(SqsError::over_limit());
        }
        let visibility_s = visibility_s.unwrap_or(self.settings.visibility_s);
        let policy = self.settings.redrive.as_ref().filter(|_| redrive == Redrive::Apply);
        let receive_limit = policy.map_or(u32::MAX, |policy| policy.max_receive_count);
        let mut taken = Taken::default();
        let mut still_ready = Vec::new();
        let mut redeliveries = self.redeliveries();
        while taken.messages.len() < max.min(room) {
            let redelivered = self.pop_redelivery(&mut redeliveries, receive_limit);
            let Some(slot) = redelivered.or_else(|| self.pop_ready()) else { break };
            let message = &self.messages[slot as usize];
            if message.receive_count - message.received_elsewhere >= receive_limit {
                taken.dead.push(self.move_out(slot));
                continue;
            }
            taken.messages.push(self.deliver(now, slot));
            match visibility_s {
                0 => still_ready.push(slot),
                _ => self.file(slot, Place::InFlight(now + seconds(visibility_s))),
            }
        }
        still_ready.into_iter().for_each(|slot| self.make_ready(slot));
        Ok(taken)
    }

    /// Deletes the message if `receipt` is of its latest delivery. An older receipt deletes nothing, which the real
    /// service reports as success too.
    pub(crate) fn delete(&mut self, now: Millis, receipt: Receipt) {
        self.advance(now);
        match self.current(receipt) {
            Some(_) if self.strikes(FaultKind::Keep) => {}
            Some(slot) => {
                let message = self.remove(slot);
                self.counters.deleted += 1;
                self.after_deletion(message);
            }
            None => self.counters.stale_deletes += 1,
        }
    }

    /// Lets the message be in flight for `visibility_s` from now on; with 0 it is ready at once.
    pub(crate) fn change_visibility(
        &mut self,
        now: Millis,
        receipt: Receipt,
        visibility_s: u32,
    ) -> Result<(), SqsError> {
        self.advance(now);
        let slot = self.current(receipt).ok_or_else(|| {
            SqsError::invalid_parameter(
                "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available \
                 for visibility timeout change.",
            )
        })?;
        let message = &self.messages[slot as usize];
        if !matches!(message.place, Place::InFlight(_)) {
            return Err(SqsError::new(
                ErrorKind::MessageNotInflight,
                "The specified message isn't in flight.",
            ));
        }
        if now - message.received_at + seconds(visibility_s) > MAX_VISIBILITY_S as u64 * 1000 {
            return Err(SqsError::out_of_range(
                visibility_s.into(),
                "VisibilityTimeout",
                "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
            ));
        }
        self.unfile(slot);
        match visibility_s {
            0 => self.make_ready(slot),
            _ => self.file(slot, Place::InFlight(now + seconds(visibility_s))),
        }
        Ok(())
    }

    /// Takes all messages out. They are given back so that the caller can free a million of them after unlocking.
    pub(crate) fn purge(&mut self) -> Purged {
        self.counters.purged += self.messages.len() as u64;
        self.ready_count = 0;
        self.in_flight_count = 0;
        self.forget_redeliveries();
        Purged {
            _messages: mem::take(&mut self.messages),
            _ready: mem::take(&mut self.ready),
            _deadlines: [mem::take(&mut self.timers), mem::take(&mut self.by_age)],
        }
    }

    /// When the next message becomes ready by itself.
    pub(crate) fn next_timer(&self) -> Option<Millis> {
        self.timers.first().map(|(due, _)| *due)
    }

    pub(crate) fn has_ready(&self) -> bool {
        self.ready_count > 0 || self.has_redelivery()
    }

    /// A snapshot, with `waiting` receives in a long poll.
    pub(crate) fn stats(&mut self, now: Millis, waiting: usize) -> QueueStats {
        self.advance(now);
        QueueStats {
            ready: self.ready_count,
            in_flight: self.in_flight_count,
            delayed: self.messages.len() - self.ready_count - self.in_flight_count,
            waiting_receives: waiting,
            sent: self.counters.sent,
            deliveries: self.counters.deliveries,
            deleted: self.counters.deleted,
            stale_deletes: self.counters.stale_deletes,
            moved_in: self.counters.moved_in,
            moved_out: self.counters.moved_out,
            expired: self.counters.expired,
            purged: self.counters.purged,
            revived: self.counters.faults.of(FaultKind::RedeliverDeleted),
            faults: self.counters.faults,
        }
    }

    fn store(&mut self, parcel: Parcel) -> Slot {
        let serial = self.next_serial;
        self.next_serial += 1;
        let sent_at = parcel.sent_at;
        let slot = self.messages.insert(Stored {
            content: parcel.content,
            dead_letter_source: parcel.dead_letter_source,
            serial,
            sent_at,
            first_received_at: parcel.first_received_at,
            received_at: 0,
            receive_count: parcel.receive_count,
            received_elsewhere: parcel.received_elsewhere,
            place: Place::Ready(u64::MAX),
        }) as Slot;
        self.by_age.insert((sent_at, slot));
        self.counters.steps += 1;
        slot
    }

    /// Puts a message that is nowhere at the end of the ready list.
    fn make_ready(&mut self, slot: Slot) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.messages[slot as usize].place = Place::Ready(ticket);
        self.ready.push_back((ticket, slot));
        self.ready_count += 1;
        self.counters.steps += 1;
    }

    /// Puts a message that is nowhere under a deadline.
    fn file(&mut self, slot: Slot, place: Place) {
        self.messages[slot as usize].place = place;
        let (Place::Delayed(due) | Place::InFlight(due)) = place else { return };
        self.timers.insert((due, slot));
        self.in_flight_count += usize::from(matches!(place, Place::InFlight(_)));
        self.counters.steps += 1;
    }

    /// Takes a message out of wherever it is; its entry in the ready list, if any, is void from then on.
    fn unfile(&mut self, slot: Slot) {
        match self.messages[slot as usize].place {
            Place::Ready(_) => {
                self.ready_count -= 1;
                self.drop_void_entries();
            }
            place @ (Place::Delayed(due) | Place::InFlight(due)) => {
                self.timers.remove(&(due, slot));
                self.in_flight_count -= usize::from(matches!(place, Place::InFlight(_)));
            }
        }
        self.counters.steps += 1;
    }

    fn remove(&mut self, slot: Slot) -> Stored {
        self.unfile(slot);
        let message = self.messages.remove(slot as usize);
        self.by_age.remove(&(message.sent_at, slot));
        message
    }

    fn pop_ready(&mut self) -> Option<Slot> {
        self.reorder();
        while let Some((ticket, slot)) = self.ready.pop_front() {
            self.counters.steps += 1;
            if is_ready(&self.messages, ticket, slot) {
                self.ready_count -= 1;
                return Some(slot);
            }
        }
        None
    }

    /// Messages that are deleted while they are ready leave void entries behind. Dropping them when they are the
    /// majority costs O(1) per deletion on the average and bounds the list.
    fn drop_void_entries(&mut self) {
        if self.ready.len() > 64 && self.ready.len() / 2 > self.ready_count {
            self.counters.steps += self.ready.len() as u64;
            let messages = &self.messages;
            self.ready.retain(|&(ticket, slot)| is_ready(messages, ticket, slot));
        }
    }

    fn deliver(&mut self, now: Millis, slot: Slot) -> Received {
        let message = &mut self.messages[slot as usize];
        message.receive_count += 1;
        message.received_at = now;
        if message.first_received_at == 0 {
            message.first_received_at = now;
        }
        self.counters.deliveries += 1;
        let received = Received {
            content: Arc::clone(&message.content),
            receipt: Receipt { slot, delivery: message.receive_count, serial: message.serial },
            sent_at: message.sent_at,
            first_received_at: message.first_received_at,
            receive_count: message.receive_count,
            dead_letter_source: message.dead_letter_source.clone(),
        };
        self.after_delivery(slot);
        received
    }

    /// Takes a message that has just left the ready list out of the queue.
    fn move_out(&mut self, slot: Slot) -> Parcel {
        let message = self.messages.remove(slot as usize);
        self.by_age.remove(&(message.sent_at, slot));
        self.counters.moved_out += 1;
        self.counters.steps += 1;
        Parcel::from(message)
    }

    /// The slot of the message that `receipt` is the latest delivery of.
    fn current(&mut self, receipt: Receipt) -> Option<Slot> {
        self.counters.steps += 1;
        let message = self.messages.get(receipt.slot as usize)?;
        let latest = message.serial == receipt.serial && message.receive_count == receipt.delivery;
        latest.then_some(receipt.slot)
    }
}

fn is_ready(messages: &Slab<Stored>, ticket: u64, slot: Slot) -> bool {
    messages.get(slot as usize).is_some_and(|message| message.place == Place::Ready(ticket))
}

fn seconds(seconds: u32) -> Millis {
    u64::from(seconds) * 1000
}

/// What a purge took out, to be dropped.
pub(crate) struct Purged {
    _messages: Slab<Stored>,
    _ready: VecDeque<(u64, Slot)>,
    _deadlines: [BTreeSet<(Millis, Slot)>; 2],
}
