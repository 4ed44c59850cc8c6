//! The queue itself, without clock and without waiting: every step is told what time it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fetch_etl_core::{Delivery, ExtendOutcome, Pii, QueueDepth, Receipt, TraceParent, UnixMillis};
use tokio::time::Instant;

use super::Outgoing;

struct Message {
    key: Option<Box<str>>,
    sent_at: Option<UnixMillis>,
    trace: Option<TraceParent>,
    body: Pii<Vec<u8>>,
    attempt: u32,
    received_at: Option<Instant>,
    /// Until when it is invisible; `None` while it is visible.
    hidden_until: Option<Instant>,
    /// A second delivery is due, come what may.
    echo: bool,
}

#[derive(Default)]
pub(super) struct State {
    messages: BTreeMap<u64, Message>,
    next_number: u64,
    visible: VecDeque<u64>,
    hidden: BTreeSet<(Instant, u64)>,
    deleted: Vec<String>,
    echoes: usize,
}

fn id(number: u64) -> String {
    format!("message-{number}")
}

impl State {
    pub(super) fn send(&mut self, body: Vec<u8>, outgoing: Outgoing, now: Instant) -> String {
        let number = self.next_number;
        self.next_number += 1;
        let message = Message {
            key: outgoing.key.map(Into::into),
            sent_at: outgoing.sent_at,
            trace: outgoing.trace,
            body: Pii::new(body),
            attempt: 0,
            received_at: None,
            hidden_until: None,
            echo: false,
        };
        self.messages.insert(number, message);
        self.hide(number, outgoing.delay, now);
        id(number)
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn ids(&self) -> Vec<String> {
        self.messages.keys().copied().map(id).collect()
    }

    pub(super) fn deleted(&self) -> &[String] {
        &self.deleted
    }

    pub(super) fn deliver_twice(&mut self, count: usize) {
        self.echoes += count;
    }

    /// When the next invisible message will be visible.
    pub(super) fn next_visible(&self) -> Option<Instant> {
        self.hidden.first().map(|(until, _)| *until)
    }

    pub(super) fn receive(&mut self, max: usize, lease: Duration, now: Instant) -> Vec<Delivery> {
        self.show_due(now);
        let mut deliveries = Vec::new();
        // What is delivered twice is visible again behind the others; once round the line is enough for one receive.
        for _ in 0..self.visible.len() {
            if deliveries.len() == max {
                break;
            }
            let Some(number) = self.visible.pop_front() else { break };
            deliveries.extend(self.deliver(number, lease, now));
        }
        deliveries
    }

    fn deliver(&mut self, number: u64, lease: Duration, now: Instant) -> Option<Delivery> {
        let message = self.messages.get_mut(&number)?;
        message.attempt += 1;
        message.received_at = Some(now);
        message.echo = !message.echo && self.echoes > 0;
        let delivery = Delivery {
            id: id(number).into(),
            key: message.key.clone(),
            attempt: message.attempt,
            sent_at: message.sent_at,
            trace: message.trace,
            body: Pii::new(message.body.expose().clone()),
            receipt: Receipt::new(format!("{number}/{}", message.attempt)),
        };
        if message.echo {
            self.echoes -= 1;
            self.visible.push_back(number);
        } else {
            self.hide(number, lease, now);
        }
        Some(delivery)
    }

    /// The message that a receipt is the newest of.
    fn holder(&mut self, handle: &str) -> Option<(u64, &mut Message)> {
        let (number, attempt) = handle.split_once('/')?;
        let number = number.parse().ok()?;
        let attempt: u32 = attempt.parse().ok()?;
        self.messages
            .get_mut(&number)
            .filter(|message| message.attempt == attempt)
            .map(|message| (number, message))
    }

    pub(super) fn ack(&mut self, handle: &str) {
        let Some((number, message)) = self.holder(handle) else { return };
        if message.echo {
            // Deleted, and delivered once more all the same.
            return;
        }
        let hidden_until = message.hidden_until;
        self.messages.remove(&number);
        match hidden_until {
            Some(until) => {
                self.hidden.remove(&(until, number));
            }
            None => self.visible.retain(|&visible| visible != number),
        }
        self.deleted.push(id(number));
    }

    pub(super) fn extend(
        &mut self,
        handle: &str,
        lease: Duration,
        max_hold: Duration,
        now: Instant,
    ) -> ExtendOutcome {
        self.show_due(now);
        let Some((number, message)) = self.holder(handle) else { return ExtendOutcome::Lost };
        if message.echo {
            // Its holder cannot know that somebody else is about to have it too.
            return ExtendOutcome::Extended;
        }
        let Some(received_at) = message.received_at.filter(|_| message.hidden_until.is_some()) else {
            return ExtendOutcome::Lost;
        };
        let left_to_hold = (received_at + max_hold).saturating_duration_since(now);
        if left_to_hold.is_zero() {
            return ExtendOutcome::Lost;
        }
        self.hide(number, lease.min(left_to_hold), now);
        ExtendOutcome::Extended
    }

    pub(super) fn nack(&mut self, handle: &str, delay: Duration, now: Instant) {
        self.show_due(now);
        let Some((number, message)) = self.holder(handle) else { return };
        if message.hidden_until.is_some() {
            self.hide(number, delay, now);
        }
    }

    pub(super) fn depth(&mut self, now: Instant) -> QueueDepth {
        self.show_due(now);
        let delayed = self.hidden.iter().filter(|(_, number)| self.messages[number].attempt == 0).count();
        QueueDepth {
            visible: (self.messages.len() - self.hidden.len()) as u64,
            in_flight: (self.hidden.len() - delayed) as u64,
            delayed: delayed as u64,
        }
    }

    /// Makes a message that stands in no line, or in that of the hidden, invisible for a time, or visible where that is nothing.
    fn hide(&mut self, number: u64, time: Duration, now: Instant) {
        let Some(message) = self.messages.get_mut(&number) else { return };
        if let Some(until) = message.hidden_until.take() {
            self.hidden.remove(&(until, number));
        }
        if time.is_zero() {
            self.visible.push_back(number);
        } else {
            message.hidden_until = Some(now + time);
            self.hidden.insert((now + time, number));
        }
    }

    fn show_due(&mut self, now: Instant) {
        while let Some(&(until, number)) = self.hidden.first()
            && until <= now
        {
            self.hidden.pop_first();
            if let Some(message) = self.messages.get_mut(&number) {
                message.hidden_until = None;
            }
            self.visible.push_back(number);
        }
    }
}
