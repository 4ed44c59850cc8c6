//! Where the numbers come from: the pipeline's counters, and what is known of its surroundings.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use fetch_etl_core::pipeline::{Operation, ReturnCause, Stats};
use fetch_etl_core::{ErrorClass, KeyId, PolicyInForce, QueueDepth, RejectReason, UnixMillis};
use tokio_util::sync::CancellationToken;

use crate::families::{Family, LabelValue, Value, whole};
use crate::health::{Health, Part};
use crate::{process, table};

const MICROS_PER_SECOND: f64 = 1e6;

/// What does not change while a process runs.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The program's version.
    pub version: &'static str,
    /// The commit that it was built from, where that is known.
    pub commit: &'static str,
    /// Most messages in flight.
    pub max_in_flight: usize,
}

/// Everything that a running pipeline tells about itself.
#[derive(Debug)]
pub struct Telemetry {
    stats: Arc<Stats>,
    about: About,
    health: Health,
    started_at: UnixMillis,
    depth: Mutex<Option<QueueDepth>>,
    policy: Mutex<Option<InForce>>,
    key_id: AtomicI64,
}

/// What is told of a policy: numbers only.
#[derive(Debug, Clone, Copy)]
struct InForce {
    version: i64,
    key_id: KeyId,
    canonical_version: i32,
}

/// No key is known yet; ids are 32 bits wide.
const NO_KEY: i64 = i64::MIN;

impl Telemetry {
    /// What these counters, and those who say more later, have to tell. `stop` is what asks the pipeline to stop.
    pub fn new(stats: Arc<Stats>, about: About, stop: CancellationToken) -> Self {
        Self {
            health: Health::new(stats.clone(), stop),
            stats,
            about,
            started_at: UnixMillis::now(),
            depth: Mutex::default(),
            policy: Mutex::default(),
            key_id: AtomicI64::new(NO_KEY),
        }
    }

    /// Whether it lives, and whether it is ready.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The pipeline's counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Says which key this worker masks with.
    pub fn masks_with(&self, id: KeyId) {
        self.key_id.store(i64::from(id.get()), Relaxed);
    }

    /// Says which policy the database has.
    pub fn policy_in_force(&self, in_force: &PolicyInForce) {
        let PolicyInForce { version, policy } = in_force;
        let told =
            InForce { version: *version, key_id: policy.key_id, canonical_version: policy.canonical_version };
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
    }

    /// Says how many messages the queue holds; `None` where it does not tell any more.
    pub fn queue_depth(&self, depth: Option<QueueDepth>) {
        *self.depth.lock().unwrap_or_else(PoisonError::into_inner) = depth;
    }

    /// All metrics at this moment, in the order of the table.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.of_messages();
        families.extend(self.of_calls());
        families.extend(self.of_surroundings());
        families.extend(self.of_process());
        families
    }

    fn of_messages(&self) -> Vec<Family> {
        let stats = &self.stats;
        // One look at all that belongs together: the sum is right in every scrape.
        let summary = stats.summary();
        let age = stats.oldest_in_flight().map_or(0, |sent_at| UnixMillis::now().get() - sent_at.get());
        vec![
            Family::whole(&table::RECEIVED, summary.received),
            Family::whole(&table::INSERTED, summary.inserted),
            Family::whole(&table::DUPLICATES, summary.duplicates),
            by_reason(&table::QUARANTINED, |reason| stats.quarantined_for(reason)),
            by_reason(&table::REJECTED, |reason| stats.rejected(reason)),
            Family::by(
                &table::RETURNED,
                ReturnCause::ALL.map(|cause| ([cause.into()], whole(stats.returned_for(cause)))),
            ),
            Family::whole(&table::IN_FLIGHT, summary.in_flight),
            Family::whole(&table::IN_FLIGHT_LIMIT, self.about.max_in_flight),
            Family::whole(&table::CONSERVATION, summary.unaccounted()),
            // The queue's clock may be ahead of ours.
            Family::of(&table::OLDEST, Value::Measured(age.max(0) as f64 / 1e3)),
            Family::whole(&table::ERASED, summary.erased),
            Family::whole(&table::UNKNOWN_FIELDS, summary.unknown_fields),
            Family::whole(&table::NON_CANONICAL, summary.non_canonical),
        ]
    }

    fn of_calls(&self) -> Vec<Family> {
        let stats = &self.stats;
        let by_class = |metric, number: &dyn Fn(Operation, ErrorClass) -> u64| {
            let points = Operation::ALL.into_iter().flat_map(|operation| {
                ErrorClass::ALL
                    .map(|class| ([operation.into(), class.into()], whole(number(operation, class))))
            });
            Family::by(metric, points)
        };
        vec![
            Family::whole(&table::ACKED, stats.acked.get()),
            Family::whole(&table::ACK_FAILED, stats.ack_failures.get()),
            Family::whole(&table::LEASES_EXTENDED, stats.leases_extended.get()),
            Family::whole(&table::RECEIVES, stats.receives.get()),
            Family::whole(&table::WRITES, stats.writes.get()),
            by_class(&table::RETRIES, &|operation, class| stats.retries(operation, class)),
            by_class(&table::FAILURES, &|operation, class| stats.failures(operation, class)),
            Family::of(&table::BATCH_ROWS, Value::of_histogram(&stats.batch_rows(), 1.0)),
            Family::of(&table::BATCH_TIME, Value::of_histogram(&stats.batch_micros(), MICROS_PER_SECOND)),
            Family::of(&table::COMMIT_TIME, Value::of_histogram(&stats.commit_micros(), MICROS_PER_SECOND)),
            Family::whole(&table::RECEIVERS, stats.receivers()),
        ]
    }

    fn of_surroundings(&self) -> Vec<Family> {
        let not_ready = self.health.ready().not_ready;
        let parts = Part::ALL.map(|part| ([part.into()], whole(i64::from(!not_ready.contains(&part)))));
        let depth = *self.depth.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = depth.into_iter().flat_map(|QueueDepth { visible, in_flight, delayed }| {
            [("visible", visible), ("in_flight", in_flight), ("delayed", delayed)]
        });
        let key = Some(self.key_id.load(Relaxed)).filter(|id| *id != NO_KEY);
        let policy = *self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = policy.map(|InForce { version, key_id, canonical_version }| {
            let canonical_version = LabelValue::number(i64::from(canonical_version));
            ([LabelValue::number(version), key_id.into(), canonical_version], Value::Info)
        });
        let About { version, commit, .. } = self.about;
        vec![
            Family::whole(&table::BREAKER, i64::from(self.stats.sink_is_down())),
            Family::by(&table::READY, parts),
            Family::by(&table::QUEUE, queue.map(|(state, count)| ([LabelValue::word(state)], whole(count)))),
            Family::by(&table::KEY, key.map(|id| ([LabelValue::number(id)], Value::Info))),
            Family::by(&table::POLICY, policy),
            Family::by(&table::BUILD, [([LabelValue::word(version), LabelValue::word(commit)], Value::Info)]),
        ]
    }

    fn of_process(&self) -> Vec<Family> {
        let known = |metric, value: Option<i64>| Family::by(metric, value.map(|value| ([], whole(value))));
        let max_fds = process::max_fds().and_then(|max| i64::try_from(max).ok());
        vec![
            Family::of(&table::PROCESS_CPU, Value::Measured(process::cpu_seconds())),
            known(&table::PROCESS_MEMORY, process::resident_bytes()),
            known(&table::PROCESS_FDS, process::open_fds()),
            known(&table::PROCESS_MAX_FDS, max_fds),
            Family::of(&table::PROCESS_START, Value::Measured(self.started_at.get() as f64 / 1e3)),
        ]
    }
}

fn by_reason(metric: &'static table::Metric, number: impl Fn(RejectReason) -> u64) -> Family {
    Family::by(metric, RejectReason::ALL.map(|reason| ([reason.into()], whole(number(reason)))))
}
