//! The queue against a model so simple that it is right by sight: a list of messages that is searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;

const START: Millis = 1_700_000_000_000;
const RETENTION_S: u32 = 120;
const MAX_RECEIVE_COUNT: u32 = 3;
const IN_FLIGHT_LIMIT: usize = 12;

#[derive(Clone, Debug)]
enum Action {
    Send {
        delay_s: u32,
    },
    Receive {
        max: usize,
        visibility_s: u32,
    },
    /// With one of the receipts so far, latest or not.
    Delete(prop::sample::Index),
    Change(prop::sample::Index, u32),
    Wait(Millis),
    Purge,
}

fn action() -> impl Strategy<Value = Action> {
    let short = prop_oneof![Just(0), 1_u32..40];
    prop_oneof![
        4 => short.clone().prop_map(|delay_s| Action::Send { delay_s: delay_s / 2 }),
        4 => (1_usize..=10, short.clone()).prop_map(|(max, visibility_s)| Action::Receive { max, visibility_s }),
        4 => any::<prop::sample::Index>().prop_map(Action::Delete),
        3 => (any::<prop::sample::Index>(), short).prop_map(|(index, s)| Action::Change(index, s)),
        3 => (1_u64..30_000).prop_map(Action::Wait),
        1 => Just(Action::Purge),
    ]
}

/// A message of the model. It is in one place at a time by construction.
struct Simple {
    name: String,
    sent_at: Millis,
    /// Ready when this is in the past.
    hidden_until: Millis,
    in_flight: bool,
    receive_count: u32,
    latest: Option<Receipt>,
}

#[derive(Default)]
struct Model {
    messages: Vec<Simple>,
    gone: u64,
    moved: Vec<String>,
    sent: u64,
}

impl Model {
    fn advance(&mut self, now: Millis) {
        for message in &mut self.messages {
            message.in_flight &= message.hidden_until > now;
        }
        self.remove(|message| message.sent_at + seconds(RETENTION_S) <= now);
    }

    fn remove(&mut self, gone: impl Fn(&Simple) -> bool) {
        let before = self.messages.len();
        self.messages.retain(|message| !gone(message));
        self.gone += (before - self.messages.len()) as u64;
    }

    fn in_flight(&self) -> usize {
        self.messages.iter().filter(|message| message.in_flight).count()
    }

    fn of(&mut self, receipt: Receipt) -> Option<&mut Simple> {
        self.messages.iter_mut().find(|message| message.latest == Some(receipt))
    }
}

struct Pair {
    queue: QueueState,
    model: Model,
    now: Millis,
    receipts: Vec<Receipt>,
}

impl Pair {
    fn new() -> Self {
        let policy = crate::settings::RedrivePolicy::text(
            "arn:aws:sqs:us-east-1:000000000000:dead",
            MAX_RECEIVE_COUNT,
        );
        let mut settings = Settings::default();
        settings
            .update([
                ("RedrivePolicy", policy.as_str()),
                ("MessageRetentionPeriod", &RETENTION_S.to_string()),
            ])
            .unwrap();
        settings.in_flight_limit = IN_FLIGHT_LIMIT;
        let queue = QueueState::new(settings, START, fastrand::Rng::with_seed(5));
        Self { queue, model: Model::default(), now: START, receipts: Vec::new() }
    }

    fn run(&mut self, action: &Action) {
        self.model.advance(self.now);
        match action {
            Action::Send { delay_s } => self.send(*delay_s),
            Action::Receive { max, visibility_s } => self.receive(*max, *visibility_s),
            Action::Delete(index) if !self.receipts.is_empty() => self.delete(*index.get(&self.receipts)),
            Action::Change(index, s) if !self.receipts.is_empty() => {
                self.change(*index.get(&self.receipts), *s);
            }
            Action::Delete(_) | Action::Change(..) => {}
            Action::Wait(millis) => self.now += millis,
            Action::Purge => {
                drop(self.queue.purge());
                self.model.remove(|_| true);
            }
        }
        self.compare();
    }

    fn send(&mut self, delay_s: u32) {
        let name = format!("message {}", self.model.sent);
        let draft = Draft { delay_s: Some(delay_s), ..Draft::new(name.clone()) };
        self.queue.send(self.now, draft).unwrap();
        self.model.sent += 1;
        self.model.messages.push(Simple {
            name,
            sent_at: self.now,
            hidden_until: self.now + seconds(delay_s),
            in_flight: false,
            receive_count: 0,
            latest: None,
        });
    }

    fn receive(&mut self, max: usize, visibility_s: u32) {
        let in_flight = self.model.in_flight();
        let taken = self.queue.receive(self.now, max, Some(visibility_s), Redrive::Apply);
        if in_flight >= IN_FLIGHT_LIMIT {
            assert_eq!(taken.err().map(|e| e.kind), Some(ErrorKind::OverLimit));
            return;
        }
        let taken = taken.unwrap();
        for parcel in &taken.dead {
            let name = &*parcel.content.body;
            let position = self.model.messages.iter().position(|message| message.name == name).unwrap();
            let message = self.model.messages.remove(position);
            assert!(message.hidden_until <= self.now, "{name} was hidden and moved");
            assert_eq!(message.receive_count, MAX_RECEIVE_COUNT, "{name}");
            self.model.moved.push(message.name);
        }
        let receivable =
            |message: &&Simple| message.hidden_until <= self.now && message.receive_count < MAX_RECEIVE_COUNT;
        let expected =
            self.model.messages.iter().filter(receivable).count().min(max).min(IN_FLIGHT_LIMIT - in_flight);
        assert_eq!(taken.messages.len(), expected);
        for received in taken.messages {
            let name = &*received.content.body;
            let message = self.model.messages.iter_mut().find(|message| message.name == name);
            let message = message.unwrap_or_else(|| panic!("{name} is gone and came back"));
            assert!(message.hidden_until <= self.now, "{name} was hidden and received");
            assert!(message.receive_count < MAX_RECEIVE_COUNT, "{name} was received too often");
            message.receive_count += 1;
            message.hidden_until = self.now + seconds(visibility_s);
            message.in_flight = visibility_s > 0;
            message.latest = Some(received.receipt);
            assert_eq!((received.receive_count, received.sent_at), (message.receive_count, message.sent_at));
            self.receipts.push(received.receipt);
        }
    }

    fn delete(&mut self, receipt: Receipt) {
        self.queue.delete(self.now, receipt);
        self.model.remove(|message| message.latest == Some(receipt));
    }

    fn change(&mut self, receipt: Receipt, visibility_s: u32) {
        let now = self.now;
        let changed = self.queue.change_visibility(now, receipt, visibility_s).map_err(|e| e.kind);
        let expected = match self.model.of(receipt) {
            None => Err(ErrorKind::InvalidParameterValue),
            Some(message) if !message.in_flight => Err(ErrorKind::MessageNotInflight),
            Some(message) => {
                message.hidden_until = now + seconds(visibility_s);
                message.in_flight = visibility_s > 0;
                Ok(())
            }
        };
        assert_eq!(changed, expected);
    }

    fn compare(&mut self) {
        self.model.advance(self.now);
        let stats = self.queue.stats(self.now, 0);
        let hidden = self.model.messages.iter().filter(|message| message.hidden_until > self.now).count();
        assert_eq!(stats.messages(), self.model.messages.len());
        assert_eq!(stats.in_flight, self.model.in_flight());
        assert_eq!(stats.ready, self.model.messages.len() - hidden);
        let left = stats.deleted + stats.expired + stats.purged;
        assert_eq!((left, stats.moved_out), (self.model.gone, self.model.moved.len() as u64));
        assert_eq!(
            stats.sent + stats.moved_in,
            stats.messages() as u64 + left + stats.moved_out,
            "conservation"
        );
        assert_indexes_agree(&self.queue);
    }
}

/// The indexes of the queue agree with its messages.
pub(super) fn assert_indexes_agree(queue: &QueueState) {
    let valid = queue.ready.iter().filter(|(ticket, slot)| is_ready(&queue.messages, *ticket, *slot)).count();
    assert_eq!(valid, queue.ready_count);
    assert_eq!(queue.timers.len() + queue.ready_count, queue.messages.len());
    assert_eq!(queue.by_age.len(), queue.messages.len());
    for (slot, message) in &queue.messages {
        let slot = slot as Slot;
        assert!(queue.by_age.contains(&(message.sent_at, slot)));
        if let Place::Delayed(due) | Place::InFlight(due) = message.place {
            assert!(queue.timers.contains(&(due, slot)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_does_what_the_model_does(actions in prop::collection::vec(action(), 1..150)) {
        let mut pair = Pair::new();
        for action in &actions {
            pair.run(action);
        }
    }
}
