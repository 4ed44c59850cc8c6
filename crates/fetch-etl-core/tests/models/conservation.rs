//! Whatever fails, hangs or panics: the summary's sum is right whenever somebody looks, and its numbers are those that source and
//! sink counted themselves.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, Stats, Summary};
use fetch_etl_core::{
    AckFailure, Batch, Committed, Delivery, ErrorClass, ExtendOutcome, Held, MessageSource, Returned, Sink,
    SinkError, SourceError, SourceLimits, WriteReport,
};
use fetch_etl_testing::{FakeMasker, Fault, Gate, InMemorySink, InMemorySource, SourceOp, SourceSettings};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{LengthSealer, config, login, on_a_paused_clock};

/// Counts what passes through it, in the words of source and sink, and looks at the pipeline's own counters before and after each
/// call, which is when tasks take turns.
#[derive(Clone)]
struct Tally {
    source: Arc<InMemorySource>,
    sink: Arc<InMemorySink<LoginRow>>,
    counts: Arc<Counts>,
    looks: Arc<Mutex<Looks>>,
}

#[derive(Default)]
struct Looks {
    at: Option<(Arc<Stats>, i64)>,
    last: Option<Summary>,
    breaches: Vec<String>,
}

impl Tally {
    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To panic here would be a panic of the source or the sink, so a breach is only noted.
    fn look(&self) {
        let looks = &mut *self.looks();
        let Some((stats, most)) = &looks.at else { return };
        let now = stats.summary();
        if now.unaccounted() != 0 || !(0..=*most).contains(&now.in_flight) {
            looks.breaches.push(now.to_string());
        }
        let numbers = |summary: &Summary| {
            let Summary { received, inserted, duplicates, quarantined, returned, leases_lost, .. } = *summary;
            [received, inserted, duplicates, quarantined, returned, leases_lost]
        };
        if let Some(last) = looks.last.replace(now.clone())
            && numbers(&now).iter().zip(numbers(&last)).any(|(now, last)| *now < last)
        {
            looks.breaches.push(format!("{last}, then {now}"));
        }
    }
}

#[derive(Default)]
struct Counts {
    handed_out: AtomicU64,
    given_back: AtomicU64,
    inserted: AtomicU64,
    duplicates: AtomicU64,
    sealed: AtomicU64,
}

#[async_trait]
impl MessageSource for Tally {
    fn limits(&self) -> SourceLimits {
        self.source.limits()
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        self.look();
        let deliveries = self.source.receive(max).await?;
        self.look();
        self.counts.handed_out.fetch_add(deliveries.len() as u64, SeqCst);
        Ok(deliveries)
    }

    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        self.look();
        let outcomes = self.source.extend(held, lease).await;
        self.look();
        outcomes
    }

    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        self.look();
        let result = self.source.ack(committed).await;
        self.look();
        result
    }

    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        self.look();
        let messages = returned.len() as u64;
        let result = self.source.nack(returned, delay).await;
        self.counts.given_back.fetch_add(messages, SeqCst);
        self.look();
        result
    }
}

#[async_trait]
impl Sink<LoginRow> for Tally {
    async fn write(&self, batch: &Batch<LoginRow>) -> Result<WriteReport, SinkError> {
        self.look();
        let report = self.sink.write(batch).await?;
        self.look();
        let sealed = batch.rejects().iter().filter(|reject| reject.sealed().is_some()).count();
        self.counts.inserted.fetch_add(report.inserted, SeqCst);
        self.counts.duplicates.fetch_add(report.duplicates, SeqCst);
        self.counts.sealed.fetch_add(sealed as u64, SeqCst);
        Ok(report)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Source(SourceOp),
    Write,
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Fails,
    DoneThenFails,
    FailsForGood,
    Hangs(Duration),
    HangsForever,
    Panics,
}

#[derive(Debug, Clone)]
enum Step {
    Send { good: usize, bad: usize, refused: usize },
    Wait(Duration),
    Trouble(Call, Trouble),
    Outage(Call, bool),
    DeliverTwice(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stop,
    UntilEmpty,
}

#[derive(Debug, Clone)]
struct Plan {
    pipeline: PipelineConfig,
    source: SourceSettings,
    sealed: bool,
    steps: Vec<Step>,
    end: End,
    jitter: u64,
}

fn call() -> impl Strategy<Value = Call> {
    let calls = [SourceOp::Receive, SourceOp::Extend, SourceOp::Ack, SourceOp::Nack].map(Call::Source);
    prop_oneof![2 => prop::sample::select(calls.to_vec()), 2 => Just(Call::Write)]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        4 => Just(Trouble::Fails),
        4 => Just(Trouble::DoneThenFails),
        1 => Just(Trouble::FailsForGood),
        4 => (0..90_000_u64).prop_map(|ms| Trouble::Hangs(Duration::from_millis(ms))),
        1 => Just(Trouble::HangsForever),
        1 => Just(Trouble::Panics),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let sent = (0..40_usize, 0..3_usize, 0..2_usize);
    prop_oneof![
        5 => sent.prop_map(|(good, bad, refused)| Step::Send { good, bad, refused }),
        5 => (0..40_000_u64).prop_map(|ms| Step::Wait(Duration::from_millis(ms))),
        4 => (call(), trouble()).prop_map(|(call, trouble)| Step::Trouble(call, trouble)),
        2 => (call(), any::<bool>()).prop_map(|(call, down)| Step::Outage(call, down)),
        1 => (1..10_usize).prop_map(Step::DeliverTwice),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let pipeline = (1..60_usize, 1..5_usize, 1..30_usize, 1..4_usize, 0..31_u64).prop_map(
        |(max_in_flight, max_receivers, max_batch_rows, writers, grace_s)| PipelineConfig {
            max_in_flight,
            max_receivers,
            max_batch_rows,
            writers,
            shutdown_grace: Duration::from_secs(grace_s),
            ..PipelineConfig::default()
        },
    );
    let source = (1..=10_usize, 1..=10_usize, 4..60_u64).prop_map(|(max_receive, max_batch, lease_s)| {
        SourceSettings { max_receive, max_batch, lease: Duration::from_secs(lease_s), ..Default::default() }
    });
    let end = prop_oneof![Just(End::Stop), Just(End::UntilEmpty)];
    (pipeline, source, any::<bool>(), prop::collection::vec(step(), 1..25), end, any::<u64>()).prop_map(
        |(pipeline, source, sealed, steps, end, jitter)| Plan {
            pipeline: PipelineConfig { until_empty: end == End::UntilEmpty, ..pipeline },
            source,
            sealed,
            steps,
            end,
            jitter,
        },
    )
}

impl Plan {
    fn has(&self, found: impl Fn(Trouble) -> bool) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Trouble(_, trouble) if found(*trouble)))
    }
}

struct World {
    tally: Tally,
    users: usize,
}

impl World {
    fn send(&mut self, good: usize, bad: usize, refused: usize) {
        for _ in 0..good {
            self.users += 1;
            self.tally.source.send(login(&format!("user-{}", self.users)));
        }
        for _ in 0..refused {
            self.users += 1;
            self.tally.source.send(login(&format!("refused-{}", self.users)));
        }
        (0..bad).for_each(|_| drop(self.tally.source.send("{")));
    }

    fn next(&self, call: Call, trouble: Trouble) {
        match call {
            Call::Source(op) => {
                let (may_pass, fatal) = (SourceError::retryable("scripted"), SourceError::fatal("scripted"));
                self.tally.source.next(op, fault(trouble, may_pass, fatal));
            }
            Call::Write => {
                let error = |class| SinkError::new(class, "scripted");
                let (may_pass, fatal) = (error(ErrorClass::Retryable), error(ErrorClass::Fatal));
                self.tally.sink.next(fault(trouble, may_pass, fatal));
            }
        }
    }

    fn set_outage(&self, call: Call, down: bool) {
        match call {
            Call::Source(op) => {
                self.tally.source.set_outage(op, down.then(|| SourceError::retryable("scripted")));
            }
            Call::Write => {
                let error = || SinkError::new(ErrorClass::Retryable, "scripted");
                self.tally.sink.set_outage(down.then(error));
            }
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Send { good, bad, refused } => self.send(good, bad, refused),
            Step::Wait(time) => sleep(time).await,
            Step::Trouble(call, trouble) => self.next(call, trouble),
            Step::Outage(call, down) => self.set_outage(call, down),
            Step::DeliverTwice(count) => self.tally.source.deliver_twice(count),
        }
    }

    /// The pipeline's numbers are those of its parts. What a task was just told when it was cut off, it may not have counted.
    fn check(&self, summary: &Summary, cut_off: bool) {
        let count = |count: &AtomicU64| count.load(SeqCst);
        let counts = &self.tally.counts;
        assert_eq!(summary.received, count(&counts.handed_out), "{summary}");
        assert_eq!(summary.inserted, count(&counts.inserted), "{summary}");
        assert_eq!(summary.duplicates, count(&counts.duplicates), "{summary}");
        assert_eq!(summary.quarantined, count(&counts.sealed), "{summary}");
        assert_eq!(summary.returned - summary.leases_lost, count(&counts.given_back), "{summary}");
        if !cut_off {
            assert_eq!(summary.in_flight, 0, "{summary}");
        }
    }
}

fn fault<E>(trouble: Trouble, may_pass: E, fatal: E) -> Fault<E> {
    match trouble {
        Trouble::Fails => Fault::Fail(may_pass),
        Trouble::DoneThenFails => Fault::DoneThenFail(may_pass),
        Trouble::FailsForGood => Fault::Fail(fatal),
        Trouble::Panics => Fault::Panic,
        Trouble::HangsForever => Fault::Stall(Gate::closed()),
        Trouble::Hangs(time) => {
            let gate = Gate::closed();
            let opened = gate.clone();
            tokio::spawn(async move {
                opened.reached(1).await;
                sleep(time).await;
                opened.open();
            });
            Fault::Stall(gate)
        }
    }
}

async fn live(plan: Plan) {
    let sink = InMemorySink::new();
    sink.refuse_if(|row: &fetch_etl_core::Masked<LoginRow>| row.row().user_id.starts_with("refused-"));
    let tally = Tally {
        source: Arc::new(InMemorySource::with(plan.source)),
        sink: Arc::new(sink),
        counts: Arc::default(),
        looks: Arc::default(),
    };
    let mut world = World { tally: tally.clone(), users: 0 };
    let parts = (Arc::new(tally.clone()), Arc::new(tally));
    let mut pipeline =
        Pipeline::new(plan.pipeline.clone(), parts.0, LoginSchema, Arc::new(FakeMasker), parts.1);
    if plan.sealed {
        pipeline = pipeline.with_sealer(Arc::new(LengthSealer));
    }
    let most = i64::try_from(plan.pipeline.max_in_flight).expect("a small number");
    world.tally.looks().at = Some((pipeline.stats(), most));
    let stop = CancellationToken::new();
    let running = tokio::spawn(pipeline.run(stop.clone()));
    for step in plan.steps.clone() {
        world.take(step).await;
    }
    if plan.end == End::UntilEmpty {
        sleep(Duration::from_secs(600)).await;
    }
    let asked_at = Instant::now();
    stop.cancel();
    let outcome = running.await.expect("a panic of a part is not one of the pipeline");
    let took = asked_at.elapsed();
    assert!(took <= plan.pipeline.shutdown_grace + Duration::from_millis(1), "a stop took {took:?}");
    let breaches = std::mem::take(&mut world.tally.looks().breaches);
    assert!(breaches.is_empty(), "{breaches:#?}");
    let summary = outcome.unwrap_or_else(|error| error.summary);
    assert_eq!(summary.unaccounted(), 0, "{summary}");
    let panics = plan.has(|trouble| matches!(trouble, Trouble::Panics));
    // Whoever still hangs when the grace is over is cut off.
    let cut_off = panics || took >= plan.pipeline.shutdown_grace;
    world.check(&summary, cut_off);
}

proptest! {
    #![proptest_config(config(0xba1a))]

    #[test]
    fn the_sum_is_right_whenever_and_whoever_counts(plan in plan()) {
        on_a_paused_clock(plan.jitter, live(plan));
    }
}
