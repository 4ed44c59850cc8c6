//! Whether the worker lives, and whether it is ready: two questions with different consequences. Who is not alive is killed and
//! started again; who is not ready is waited for. So a database that is down makes nobody dead.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fetch_etl_core::PolicyStore;
use fetch_etl_core::pipeline::{Operation, Stats};
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Telemetry;

/// How long a call may be under way, or nothing may happen while messages are in flight. Every call has a timeout of its own far
/// below it: who exceeds this hangs, and a restart is all that helps.
const STUCK_AFTER: Duration = Duration::from_secs(300);

/// How often the database is looked at while nothing is written to it.
const LOOK_EACH: Duration = Duration::from_secs(5);

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It waits for the queue and the database to answer.
    Starting,
    /// The pipeline runs.
    Running,
    /// It was asked to stop, and settles what it has.
    Stopping,
    /// The pipeline has ended.
    Stopped,
}

/// What must be in order for a worker to be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The queue answers.
    Source,
    /// The database answers.
    Sink,
    /// The masking policy is the one in force.
    Policy,
    /// Writes do not fail.
    Breaker,
    /// The pipeline runs, and is not asked to stop.
    Pipeline,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Source, Self::Sink, Self::Policy, Self::Breaker, Self::Pipeline];

    /// The name that metrics and answers use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
            Self::Policy => "policy",
            Self::Breaker => "breaker",
            Self::Pipeline => "pipeline",
        }
    }
}

/// The answer to `/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    /// Whether it lives.
    pub live: bool,
    /// How far it is.
    pub phase: Phase,
    /// What hangs, where something does: an operation, or `pipeline` where messages are in flight and nothing happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stuck: Option<&'static str>,
}

/// The answer to `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    /// Whether it is ready.
    pub ready: bool,
    /// What is not in order.
    pub not_ready: Vec<Part>,
}

/// What is known of a worker's state.
#[derive(Debug)]
pub struct Health {
    stats: Arc<Stats>,
    stop: CancellationToken,
    phase: AtomicU8,
    source: AtomicBool,
    sink: AtomicBool,
    policy: AtomicBool,
    /// The last activity that was seen, and when it was new.
    seen: Mutex<(u64, Instant)>,
}

const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const STOPPED: u8 = 2;

impl Health {
    pub(crate) fn new(stats: Arc<Stats>, stop: CancellationToken) -> Self {
        Self {
            stats,
            stop,
            phase: AtomicU8::new(STARTING),
            source: AtomicBool::new(false),
            sink: AtomicBool::new(false),
            policy: AtomicBool::new(false),
            seen: Mutex::new((0, Instant::now())),
        }
    }

    /// The queue has answered for the first time. From then on the pipeline's receives tell.
    pub fn source_answers(&self) {
        self.source.store(true, Relaxed);
    }

    /// Whether the database answers.
    pub fn sink_answers(&self, answers: bool) {
        self.sink.store(answers, Relaxed);
    }

    /// Whether this worker's masking policy is the one in force.
    pub fn policy_accepted(&self, accepted: bool) {
        self.policy.store(accepted, Relaxed);
    }

    /// The pipeline runs from now on.
    pub fn running(&self) {
        self.phase.store(RUNNING, Relaxed);
    }

    /// The pipeline has ended.
    pub fn stopped(&self) {
        self.phase.store(STOPPED, Relaxed);
    }

    /// How far it is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            STOPPED => Phase::Stopped,
            _ if self.stop.is_cancelled() => Phase::Stopping,
            RUNNING => Phase::Running,
            _ => Phase::Starting,
        }
    }

    /// Whether it lives: it makes progress, or waits for a reason.
    pub fn live(&self) -> Live {
        let phase = self.phase();
        let stuck = match phase {
            // It waits for what is not up yet, or settles what it has, within its grace.
            Phase::Starting | Phase::Stopping => None,
            Phase::Running => self.stuck(),
            Phase::Stopped => None,
        };
        Live { live: phase != Phase::Stopped && stuck.is_none(), phase, stuck }
    }

    fn stuck(&self) -> Option<&'static str> {
        if let Some((operation, _)) = self.stats.longest_call().filter(|(_, time)| *time >= STUCK_AFTER) {
            return Some(Operation::as_str(operation));
        }
        let activity = self.stats.activity();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != activity || self.stats.in_flight() == 0 {
            *seen = (activity, Instant::now());
        }
        (seen.1.elapsed() >= STUCK_AFTER).then_some("pipeline")
    }

    /// Whether it is ready.
    pub fn ready(&self) -> Ready {
        let in_order = |part| match part {
            Part::Source => self.source.load(Relaxed) && !self.stats.source_is_down(),
            Part::Sink => self.sink.load(Relaxed),
            Part::Policy => self.policy.load(Relaxed),
            Part::Breaker => !self.stats.sink_is_down(),
            Part::Pipeline => self.phase() == Phase::Running,
        };
        let not_ready: Vec<_> = Part::ALL.into_iter().filter(|&part| !in_order(part)).collect();
        Ready { ready: not_ready.is_empty(), not_ready }
    }
}

/// Notes whether the database answers, also while there is nothing to write, and which policy it has; until what it returns is
/// dropped. To be called within a runtime.
pub fn watch_sink(telemetry: Arc<Telemetry>, policies: Arc<dyn PolicyStore>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(LOOK_EACH);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // One question of one row. Asked also while writes succeed: they do not say which policy is in force.
            let answer = timeout(LOOK_EACH, policies.policy_in_force()).await;
            telemetry.health().sink_answers(matches!(answer, Ok(Ok(_))));
            if let Ok(Ok(Some(in_force))) = answer {
                telemetry.policy_in_force(&in_force);
            }
        }
    }))
}
