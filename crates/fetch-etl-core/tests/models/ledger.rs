//! Every valid key becomes exactly one row and every bad message is in the quarantine, whatever the sink's writes come to and
//! however a run ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, PipelineError, Summary};
use fetch_etl_core::{ErrorClass, MessageSource, QueueDepth, SinkError, SourceError};
use fetch_etl_testing::{FakeMasker, Fault, Gate, InMemorySink, InMemorySource, Outgoing, SourceSettings};
use proptest::prelude::*;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{LengthSealer, config, login, on_a_paused_clock};

#[derive(Debug, Clone, Copy)]
enum Kind {
    Good,
    NoJson,
    /// A row that passes every check and that the sink does not take.
    Refused,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    Done,
    Failed,
    /// Stored, and reported as failed.
    DoneThenFailed,
    /// Nothing that passes by itself: the run ends.
    Fatal,
}

#[derive(Debug, Clone, Copy)]
enum End {
    UntilEmpty,
    StopAfter(Duration),
    /// The process is gone: no ack, no nack, no word.
    CrashAfter(Duration),
}

/// Messages, and one run of a pipeline over them and over what earlier runs left.
#[derive(Debug, Clone)]
struct Round {
    /// The producer's key, of few, where it set one.
    sent: Vec<(Option<u8>, Kind)>,
    writes: Vec<Outcome>,
    delivered_twice: usize,
    unacked_entries: Vec<usize>,
    end: End,
}

#[derive(Debug, Clone)]
struct Plan {
    pipeline: PipelineConfig,
    source: SourceSettings,
    sealed: bool,
    rounds: Vec<Round>,
    jitter: u64,
}

fn round() -> impl Strategy<Value = Round> {
    let kind = prop_oneof![8 => Just(Kind::Good), 1 => Just(Kind::NoJson), 1 => Just(Kind::Refused)];
    let outcome = prop_oneof![
        6 => Just(Outcome::Done),
        3 => Just(Outcome::Failed),
        3 => Just(Outcome::DoneThenFailed),
        1 => Just(Outcome::Fatal),
    ];
    let after = || (0..20_000_u64).prop_map(Duration::from_millis);
    let end = prop_oneof![
        4 => Just(End::UntilEmpty),
        2 => after().prop_map(End::StopAfter),
        2 => after().prop_map(End::CrashAfter),
    ];
    let sent = prop::collection::vec((prop::option::of(0..12_u8), kind), 0..40);
    let writes = prop::collection::vec(outcome, 0..8);
    (sent, writes, 0..6_usize, prop::collection::vec(0..10_usize, 0..4), end).prop_map(
        |(sent, writes, delivered_twice, unacked_entries, end)| Round {
            sent,
            writes,
            delivered_twice,
            unacked_entries,
            end,
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let pipeline = (1..60_usize, 1..5_usize, 1..30_usize, 1..4_000_usize, 1..4_usize).prop_map(
        |(max_in_flight, max_receivers, max_batch_rows, max_batch_bytes, writers)| PipelineConfig {
            max_in_flight,
            max_receivers,
            max_batch_rows,
            max_batch_bytes,
            writers,
            ..PipelineConfig::default()
        },
    );
    let source = (1..=10_usize, 1..=10_usize).prop_map(|(max_receive, max_batch)| SourceSettings {
        max_receive,
        max_batch,
        ..SourceSettings::default()
    });
    (pipeline, source, any::<bool>(), prop::collection::vec(round(), 1..5), any::<u64>()).prop_map(
        |(pipeline, source, sealed, rounds, jitter)| Plan { pipeline, source, sealed, rounds, jitter },
    )
}

/// What must be: the whole of it.
#[derive(Default)]
struct Model {
    /// The users that were sent under each key, well-formed and acceptable: one of them becomes the key's row.
    good: BTreeMap<String, BTreeSet<String>>,
    bad_keys: BTreeSet<String>,
    bad_ids: BTreeSet<String>,
    users: usize,
}

struct World {
    plan: Plan,
    model: Model,
    source: Arc<InMemorySource>,
    sink: Arc<InMemorySink<LoginRow>>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let sink = InMemorySink::<LoginRow>::new();
        sink.refuse_if(|row| row.row().user_id.starts_with("refused"));
        let source = Arc::new(InMemorySource::with(plan.source));
        Self { plan, model: Model::default(), source, sink: Arc::new(sink) }
    }

    fn send(&mut self, key: Option<u8>, kind: Kind) {
        let key = key.map(|key| format!("event-{key}"));
        self.model.users += 1;
        let user = match kind {
            Kind::Refused => format!("refused-{}", self.model.users),
            _ => format!("user-{}", self.model.users),
        };
        let body = if matches!(kind, Kind::NoJson) { format!("{{{user}") } else { login(&user) };
        let id = self.source.send_with(body, Outgoing { key: key.clone(), ..Outgoing::default() });
        let key = key.unwrap_or_else(|| id.clone());
        if matches!(kind, Kind::Good) {
            self.model.good.entry(key).or_default().insert(user);
        } else {
            self.model.bad_keys.insert(key);
            self.model.bad_ids.insert(id);
        }
    }

    fn script(&self, round: &Round) {
        for outcome in &round.writes {
            let error = |class| SinkError::new(class, "scripted");
            self.sink.next(match outcome {
                Outcome::Done => {
                    let open = Gate::closed();
                    open.open();
                    Fault::Stall(open)
                }
                Outcome::Failed => Fault::Fail(error(ErrorClass::Retryable)),
                Outcome::DoneThenFailed => Fault::DoneThenFail(error(ErrorClass::Retryable)),
                Outcome::Fatal => Fault::Fail(error(ErrorClass::Fatal)),
            });
        }
        self.source.deliver_twice(round.delivered_twice);
        let entries = round.unacked_entries.iter().copied();
        self.source.fail_entries_of_next_ack(entries, SourceError::retryable("scripted"));
    }

    /// Runs a pipeline to its end and checks it; `None` where the end is a crash.
    async fn run(&self, end: End) -> Option<Result<Summary, PipelineError>> {
        let hidden_before = self.invisible().await;
        let ended = self.start(end).await?;
        let summary = ended.as_ref().unwrap_or_else(|error| &error.summary);
        assert_eq!(summary.unsettled(), 0, "{summary}");
        // Only what was rejected, or written and could not be deleted, waits before it comes back.
        let rejected = if self.plan.sealed { 0 } else { self.model.bad_ids.len() as u64 };
        let waiting = rejected + summary.ack_failures;
        let hidden = self.invisible().await;
        assert!(hidden <= hidden_before + waiting, "{hidden} invisible, {hidden_before} before; {summary}");
        Some(ended)
    }

    async fn start(&self, end: End) -> Option<Result<Summary, PipelineError>> {
        let until_empty = matches!(end, End::UntilEmpty);
        let config = PipelineConfig { until_empty, ..self.plan.pipeline.clone() };
        let (source, sink) = (self.source.clone(), self.sink.clone());
        let mut pipeline = Pipeline::new(config, source, LoginSchema, Arc::new(FakeMasker), sink);
        if self.plan.sealed {
            pipeline = pipeline.with_sealer(Arc::new(LengthSealer));
        }
        let stop = CancellationToken::new();
        let running = pipeline.run(stop.clone());
        match end {
            End::UntilEmpty => {
                Some(timeout(Duration::from_secs(3_600), running).await.expect("a run that ends by itself"))
            }
            End::StopAfter(time) => {
                let stopping = async {
                    sleep(time).await;
                    stop.cancel();
                };
                Some(tokio::join!(running, stopping).0)
            }
            End::CrashAfter(time) => timeout(time, running).await.ok(),
        }
    }

    async fn invisible(&self) -> u64 {
        self.depth().await.in_flight
    }

    async fn depth(&self) -> QueueDepth {
        self.source.depth().await.expect("no fault").expect("it tells")
    }

    /// No row that should not be, none twice, nothing deleted that is in neither rows nor quarantine.
    fn check_safety(&self) {
        let mut keys = BTreeSet::new();
        for stored in self.sink.rows() {
            let key = stored.key.as_str();
            let users =
                self.model.good.get(key).unwrap_or_else(|| panic!("a row of {key}, which nobody sent"));
            assert!(users.contains(&stored.row.user_id), "a row of {key} with the user of another");
            assert!(keys.insert(key.to_owned()), "two rows of {key}");
        }
        let left: BTreeSet<_> = self.source.left_ids().into_iter().collect();
        if !self.plan.sealed {
            let lost: Vec<_> = self.model.bad_ids.difference(&left).collect();
            assert!(lost.is_empty(), "{lost:?} could not be kept and were deleted");
        }
    }

    /// What holds once a run in good times has drained the queue.
    async fn check_end(&self, summary: &Summary) {
        let rows: BTreeSet<_> = self.sink.rows().iter().map(|row| row.key.as_str().to_owned()).collect();
        assert_eq!(
            rows,
            self.model.good.keys().cloned().collect(),
            "keys with a row, and keys that were sent"
        );
        let quarantine: BTreeSet<_> = self.sink.quarantine().into_iter().map(|row| row.key).collect();
        assert_eq!(quarantine, self.model.bad_keys);
        let left: BTreeSet<_> = self.source.left_ids().into_iter().collect();
        let expected = if self.plan.sealed { BTreeSet::new() } else { self.model.bad_ids.clone() };
        assert_eq!(left, expected, "messages left in the queue");
        assert_eq!(summary.left_in_queue, expected.len() as u64, "{summary}");
        // What was given back waits for a quarter of an hour at most, and then nothing is hidden.
        sleep(Duration::from_secs(900)).await;
        let depth = self.depth().await;
        assert_eq!((depth.in_flight, depth.visible), (0, expected.len() as u64));
    }
}

async fn live(plan: Plan) {
    let mut world = World::new(plan.clone());
    for round in &plan.rounds {
        for (key, kind) in &round.sent {
            world.send(*key, *kind);
        }
        world.script(round);
        world.run(round.end).await;
        world.check_safety();
    }
    // Leases that a run left behind end, and what was given back is visible: then good times settle everything. A run that a
    // fatal error ends has used that error up.
    let summary = loop {
        sleep(Duration::from_secs(1_000)).await;
        if let Some(Ok(summary)) = world.run(End::UntilEmpty).await {
            break summary;
        }
    };
    world.check_safety();
    world.check_end(&summary).await;
}

proptest! {
    #![proptest_config(config(0x1ed9e5))]

    #[test]
    fn every_key_is_one_row_and_every_bad_message_is_kept(plan in plan()) {
        on_a_paused_clock(plan.jitter, live(plan));
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_message_does_not_make_others_under_its_key_look_old() {
    let source =
        Arc::new(InMemorySource::with(SourceSettings { max_receive: 1, ..SourceSettings::default() }));
    let sink = Arc::new(InMemorySink::<LoginRow>::new());
    for body in ["{", "{", "{", "{", &login("user-1")] {
        source.send_with(body, Outgoing { key: Some("event-1".into()), ..Outgoing::default() });
    }
    let config = PipelineConfig { until_empty: true, max_in_flight: 1, ..PipelineConfig::default() };
    let pipeline = Pipeline::new(config, source.clone(), LoginSchema, Arc::new(FakeMasker), sink.clone());
    let summary = pipeline.run(CancellationToken::new()).await.expect("no fault");
    assert_eq!((summary.inserted, sink.len()), (1, 1), "the queue was not empty yet");
    assert_eq!((summary.left_in_queue, source.left()), (4, 4), "messages, not keys");
}
