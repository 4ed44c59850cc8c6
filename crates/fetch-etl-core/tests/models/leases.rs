//! What a pipeline holds, and for how long: random troubles of source and sink, and an account kept beside it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, PipelineError, Stats, Summary};
use fetch_etl_core::{ErrorClass, MessageSource, SinkError, SourceError};
use fetch_etl_testing::{FakeMasker, Fault, Gate, InMemorySink, InMemorySource, SourceOp, SourceSettings};
use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::witness::Witness;
use super::{config, login, on_a_paused_clock};

/// A call that something can happen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Source(SourceOp),
    Write,
}

#[derive(Debug, Clone)]
enum Step {
    Send { good: usize, bad: usize },
    Wait(Duration),
    Outage(Call, bool),
    FailNext(Call),
    DoneThenFailNext(Call),
    StallNext(Call, Duration),
    DeliverTwice(usize),
    FailEntriesOfNextAck(Vec<usize>),
}

#[derive(Debug, Clone)]
struct Plan {
    pipeline: PipelineConfig,
    source: SourceSettings,
    steps: Vec<Step>,
    /// Ask for the end in the middle of it all, and start another pipeline after it.
    stop_early: bool,
    jitter: u64,
}

fn call() -> impl Strategy<Value = Call> {
    let calls = [SourceOp::Receive, SourceOp::Extend, SourceOp::Ack, SourceOp::Nack].map(Call::Source);
    prop_oneof![2 => prop::sample::select(calls.to_vec()), 1 => Just(Call::Write)]
}

fn step() -> impl Strategy<Value = Step> {
    let up_to = |millis: u64| (0..millis).prop_map(Duration::from_millis);
    prop_oneof![
        4 => (0..40_usize, 0..3_usize).prop_map(|(good, bad)| Step::Send { good, bad }),
        3 => up_to(1_000).prop_map(Step::Wait),
        3 => up_to(60_000).prop_map(Step::Wait),
        3 => (call(), any::<bool>()).prop_map(|(call, down)| Step::Outage(call, down)),
        1 => call().prop_map(Step::FailNext),
        1 => call().prop_map(Step::DoneThenFailNext),
        2 => (call(), up_to(90_000)).prop_map(|(call, time)| Step::StallNext(call, time)),
        1 => (1..10_usize).prop_map(Step::DeliverTwice),
        1 => prop::collection::vec(0..10_usize, 1..4).prop_map(Step::FailEntriesOfNextAck),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let pipeline = (1..50_usize, 1..5_usize, 1..20_usize, 1..4_usize).prop_map(
        |(max_in_flight, max_receivers, max_batch_rows, writers)| PipelineConfig {
            max_in_flight,
            max_receivers,
            max_batch_rows,
            writers,
            ..PipelineConfig::default()
        },
    );
    let source = (1..=10_usize, 1..=10_usize, 4..60_u64, any::<bool>()).prop_map(
        |(max_receive, max_batch, lease_s, short_hold)| SourceSettings {
            max_receive,
            max_batch,
            lease: Duration::from_secs(lease_s),
            max_hold: if short_hold { Duration::from_secs(lease_s * 3) } else { Duration::from_secs(43_200) },
            wait: Duration::from_secs(20),
            ..SourceSettings::default()
        },
    );
    (pipeline, source, prop::collection::vec(step(), 1..30), any::<bool>(), any::<u64>()).prop_map(
        |(pipeline, source, steps, stop_early, jitter)| Plan { pipeline, source, steps, stop_early, jitter },
    )
}

impl Plan {
    /// Whether nothing in it can take a lease away: then none may be lost.
    fn keeps_leases(&self) -> bool {
        let endangers = |step: &Step| match step {
            Step::Outage(call, _)
            | Step::FailNext(call)
            | Step::DoneThenFailNext(call)
            | Step::StallNext(call, _) => *call == Call::Source(SourceOp::Extend),
            // Whoever receives it second has it.
            Step::DeliverTwice(_) => true,
            _ => false,
        };
        self.source.max_hold > Duration::from_secs(3_600) && !self.steps.iter().any(endangers)
    }
}

type Ended = Result<Summary, PipelineError>;

struct World {
    plan: Plan,
    witness: Witness,
    good: BTreeSet<String>,
    bad: BTreeSet<String>,
}

impl World {
    fn new(plan: Plan) -> Self {
        let witness = Witness::new(InMemorySource::with(plan.source), InMemorySink::new());
        Self { plan, witness, good: BTreeSet::new(), bad: BTreeSet::new() }
    }

    fn start(&self, stop: &CancellationToken) -> (Arc<Stats>, JoinHandle<Ended>) {
        let (source, sink) = (Arc::new(self.witness.clone()), Arc::new(self.witness.clone()));
        let pipeline =
            Pipeline::new(self.plan.pipeline.clone(), source, LoginSchema, Arc::new(FakeMasker), sink);
        (pipeline.stats(), tokio::spawn(pipeline.run(stop.clone())))
    }

    fn send(&mut self, good: usize, bad: usize) {
        for _ in 0..good {
            let user = format!("user-{}", self.good.len());
            self.good.insert(self.witness.source.send(login(&user)));
        }
        for _ in 0..bad {
            self.bad.insert(self.witness.source.send("{"));
        }
    }

    /// Queues a fault for the next call.
    fn next(&self, call: Call, source: Fault<SourceError>, sink: Fault<SinkError>) {
        match call {
            Call::Source(op) => self.witness.source.next(op, source),
            Call::Write => self.witness.sink.next(sink),
        }
    }

    fn set_outage(&self, call: Call, down: bool) {
        match call {
            Call::Source(op) => self.witness.source.set_outage(op, down.then(source_error)),
            Call::Write => self.witness.sink.set_outage(down.then(sink_error)),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send { good, bad } => self.send(good, bad),
            Step::Wait(time) => sleep(time).await,
            Step::Outage(call, down) => self.set_outage(call, down),
            Step::FailNext(call) => self.next(call, Fault::Fail(source_error()), Fault::Fail(sink_error())),
            Step::DoneThenFailNext(call) => {
                self.next(call, Fault::DoneThenFail(source_error()), Fault::DoneThenFail(sink_error()));
            }
            Step::StallNext(call, time) => {
                let gate = Gate::closed();
                self.next(call, Fault::Stall(gate.clone()), Fault::Stall(gate.clone()));
                tokio::spawn(async move {
                    // From the moment on which somebody stands there.
                    gate.reached(1).await;
                    sleep(time).await;
                    gate.open();
                });
            }
            Step::DeliverTwice(count) => self.witness.source.deliver_twice(count),
            Step::FailEntriesOfNextAck(entries) => {
                self.witness.source.fail_entries_of_next_ack(entries, source_error());
            }
        }
    }

    fn end_outages(&self) {
        for op in [SourceOp::Receive, SourceOp::Extend, SourceOp::Ack, SourceOp::Nack] {
            self.set_outage(Call::Source(op), false);
        }
        self.set_outage(Call::Write, false);
    }

    /// Asks for the end, and checks that it comes in time.
    async fn stop(&self, stop: CancellationToken, running: JoinHandle<Ended>) -> Summary {
        let asked_at = Instant::now();
        stop.cancel();
        let summary = running.await.expect("no panic").expect("no fatal error");
        let grace = self.plan.pipeline.shutdown_grace;
        assert!(asked_at.elapsed() <= grace, "a stop took {:?}", asked_at.elapsed());
        summary
    }

    fn check_account(&self) {
        let breaches = self.witness.breaches();
        assert!(breaches.is_empty(), "{breaches:#?}");
        let (most, bound) = (self.witness.most_held(), self.plan.pipeline.max_in_flight);
        assert!(most <= bound, "{most} messages were held at once, of at most {bound}");
    }

    async fn check_end(&self, summary: &Summary) {
        assert_eq!(summary.unsettled(), 0, "{summary}");
        let rows: Vec<_> = self.witness.sink.rows().iter().map(|row| row.key.as_str().to_owned()).collect();
        assert_eq!(rows.len(), self.good.len());
        assert_eq!(rows.into_iter().collect::<BTreeSet<_>>(), self.good);
        let left: BTreeSet<_> = self.witness.source.left_ids().into_iter().collect();
        assert_eq!(left, self.bad, "messages left in the queue");
        sleep(Duration::from_secs(900)).await;
        let depth = self.witness.depth().await.expect("no fault").expect("it tells");
        assert_eq!((depth.in_flight, depth.visible), (0, self.bad.len() as u64));
    }
}

fn source_error() -> SourceError {
    SourceError::retryable("scripted")
}

fn sink_error() -> SinkError {
    SinkError::new(ErrorClass::Retryable, "scripted")
}

async fn live(plan: Plan) {
    let mut world = World::new(plan.clone());
    let mut stop = CancellationToken::new();
    let (mut stats, mut running) = world.start(&stop);
    for step in plan.steps.clone() {
        world.take(step).await;
        world.check_account();
    }
    if plan.stop_early {
        world.stop(stop, running).await;
        world.check_account();
        world.witness.forget_holds();
        stop = CancellationToken::new();
        (stats, running) = world.start(&stop);
    }
    world.end_outages();
    // Stalls end, leases that were lost run out, and what was rejected has come back a few times.
    sleep(Duration::from_secs(1_800)).await;
    assert!(!stats.sink_is_down());
    let summary = world.stop(stop, running).await;
    world.check_account();
    if plan.keeps_leases() {
        assert_eq!(summary.leases_lost, 0, "nothing took a lease away");
    }
    world.check_end(&summary).await;
}

proptest! {
    #![proptest_config(config(0x1ea5e))]

    #[test]
    fn no_more_is_held_than_allowed_and_nothing_is_acked_that_is_not_written(plan in plan()) {
        on_a_paused_clock(plan.jitter, live(plan));
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_hangs_costs_no_other_message_its_lease() {
    let source = SourceSettings { max_receive: 20, max_batch: 1, ..SourceSettings::default() };
    let plan =
        Plan { pipeline: PipelineConfig::default(), source, steps: Vec::new(), stop_early: false, jitter: 0 };
    let mut world = World::new(plan);
    world.send(20, 0);
    world.set_outage(Call::Write, true);
    world.witness.source.next(SourceOp::Extend, Fault::Stall(Gate::closed()));
    let stop = CancellationToken::new();
    let (stats, running) = world.start(&stop);
    sleep(Duration::from_secs(600)).await;
    assert!(stats.sink_is_down());
    let depth = world.witness.depth().await.expect("no fault").expect("it tells");
    assert!(
        depth.visible <= 1,
        "{} messages are free for others to take, one extension hangs",
        depth.visible
    );
    world.end_outages();
    sleep(Duration::from_secs(60)).await;
    let summary = world.stop(stop, running).await;
    world.check_end(&summary).await;
}
