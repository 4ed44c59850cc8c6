//! What is measured, in which order, how often.
//!
//! What is short is measured once in each round, every other round backwards: drift of the machine, and what one measurement leaves to
//! the next, hits all alike. What takes long comes once, at the end.

use std::time::{Duration, Instant};

use fetch_etl_harness::{Masking, beside};

use crate::load::Values;
use crate::parts::{MaskMethod, SinkWay};
use crate::report::{FORMAT, Measurement, Report, Run};
use crate::rig::Rig;
use crate::runs::growth::Filled;
use crate::runs::pace::Pace;
use crate::runs::worker::Setup;
use crate::runs::{idle, latency, limits, peer, prune, soak, worker};
use crate::{Result, Scale, machine, say, stats};

/// What is started, and has to be beside this program.
const PROGRAMS: [&str; 2] = ["etl-worker", "fetch-etl-local-sqs"];

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much.
    pub scale: Scale,
    /// Only what has a name that begins with one of these; everything where there are none.
    pub only: Vec<String>,
    /// Commands of other consumers.
    pub peers: Vec<String>,
    /// How long memory is watched at a steady rate; not at all where there is nothing.
    pub soak: Option<Duration>,
    /// A server; one is made where there is none.
    pub database_url: Option<String>,
    /// The command line, for the report.
    pub command: String,
}

/// One measurement of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Queue,
    Pipeline,
    Source,
    LeanSource,
    Mask(MaskMethod),
    Sink(SinkWay),
    Core,
    Worker(Variant),
    Stored,
    Peer(usize, String),
    LongBacklog,
    Latency,
    LatencyAtHalf,
    Idle,
    Prune,
    Soak(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Sha512,
    Hmac,
    Sdk,
    VaultNew,
    VaultRepeating,
    Workers(usize),
    ShortBacklog,
}

/// In the order of the report.
fn all_steps(peers: &[String], soak: Option<Duration>) -> Vec<Step> {
    let mut steps = vec![
        Step::Queue,
        Step::Pipeline,
        Step::Source,
        Step::LeanSource,
        Step::Mask(MaskMethod::Sha512),
        Step::Mask(MaskMethod::Hmac),
        Step::Sink(SinkWay::Unnest),
        Step::Sink(SinkWay::Ledger),
        Step::Sink(SinkWay::Copy),
        Step::Sink(SinkWay::Staged),
        Step::Core,
        Step::Worker(Variant::Sha512),
        Step::Worker(Variant::Hmac),
        Step::Worker(Variant::Sdk),
        Step::Worker(Variant::VaultNew),
        Step::Worker(Variant::VaultRepeating),
        Step::Worker(Variant::Workers(2)),
        Step::Worker(Variant::Workers(4)),
        Step::Worker(Variant::ShortBacklog),
        Step::LongBacklog,
        Step::Stored,
        Step::Latency,
        Step::LatencyAtHalf,
        Step::Idle,
        Step::Prune,
    ];
    steps.extend(soak.map(Step::Soak));
    steps.extend(peers.iter().enumerate().map(|(index, command)| Step::Peer(index + 1, command.clone())));
    steps
}

/// The names of all measurements, without peers and what has to be asked for, in the order of the report.
pub fn names() -> Vec<String> {
    all_steps(&[], None).iter().map(Step::name).collect()
}

impl Step {
    fn name(&self) -> String {
        match self {
            Self::Queue => "limit.queue".into(),
            Self::Pipeline => "limit.pipeline".into(),
            Self::Source => "limit.source".into(),
            Self::LeanSource => "limit.source.lean".into(),
            Self::Mask(MaskMethod::Sha512) => "limit.mask.sha512".into(),
            Self::Mask(MaskMethod::Hmac) => "limit.mask.hmac".into(),
            Self::Sink(SinkWay::Unnest) => "limit.sink.unnest".into(),
            Self::Sink(SinkWay::Ledger) => "limit.sink.ledger".into(),
            Self::Sink(SinkWay::Copy) => "limit.sink.copy".into(),
            Self::Sink(SinkWay::Staged) => "limit.sink.staged".into(),
            Self::Core => "core".into(),
            Self::Worker(variant) => format!("worker.{}", variant.word()),
            Self::LongBacklog => "worker.backlog.long".into(),
            Self::Stored => "worker.stored".into(),
            Self::Latency => "worker.latency".into(),
            Self::LatencyAtHalf => "worker.latency.half".into(),
            Self::Idle => "worker.idle".into(),
            Self::Prune => "ledger.prune".into(),
            Self::Soak(_) => "worker.soak".into(),
            Self::Peer(number, _) => format!("peer.{number}"),
        }
    }

    fn what(&self, scale: &Scale) -> String {
        match self {
            Self::Queue => "receive and delete by bare HTTP: what the queue can do".into(),
            Self::Pipeline => "the worker's steps by bare means, SHA-512, no safety".into(),
            Self::Source => {
                "receive and delete through the worker's source, by the SDK's client, nothing else".into()
            }
            Self::LeanSource => "the same, without the SDK's client: the worker's default".into(),
            Self::Mask(_) => "decode and mask in a loop on one core".into(),
            Self::Sink(SinkWay::Unnest) => "the rows by INSERT … UNNEST, two connections".into(),
            Self::Sink(SinkWay::Ledger) => "the same, for keys that a ledger did not know".into(),
            Self::Sink(SinkWay::Copy) => "the rows by binary COPY, two connections".into(),
            Self::Sink(SinkWay::Staged) => {
                "binary COPY into a temporary table, and from there the keys that a ledger did not know"
                    .into()
            }
            Self::Core => "source in memory → decode → sink of nothing, one thread".into(),
            Self::Worker(variant) => variant.what(scale),
            Self::LongBacklog => format!("HMAC, a backlog of {}", scale.long_backlog),
            Self::Stored => format!("HMAC, with {} rows there already", scale.stored_rows),
            Self::Latency => "HMAC, 100 messages/s".into(),
            Self::LatencyAtHalf => "HMAC, half the rate of worker.hmac, one message of 100 timed".into(),
            Self::Idle => "HMAC, an empty queue".into(),
            Self::Prune => {
                format!(
                    "forgetting {} keys past retention, and a hundredth of it without a day",
                    scale.stored_rows
                )
            }
            Self::Soak(time) => format!("HMAC, 2,000 messages/s for {} s", time.as_secs()),
            Self::Peer(_, command) => format!("`{command}`"),
        }
    }

    fn is_once(&self) -> bool {
        matches!(self, Self::Latency | Self::LatencyAtHalf | Self::Idle | Self::Prune | Self::Soak(_))
    }

    async fn measure(&self, rig: &Rig, known: &mut Known) -> Result<Run> {
        match self {
            Self::Queue => limits::queue(rig).await,
            Self::Pipeline => limits::pipeline(rig).await,
            Self::Source => limits::source(rig, true).await,
            Self::LeanSource => limits::source(rig, false).await,
            Self::Mask(method) => limits::mask(rig, *method),
            Self::Sink(way) => limits::sink(rig, *way).await,
            Self::Core => limits::core(rig),
            Self::Worker(variant) => worker::rate(rig, &variant.setup(&rig.scale)).await,
            Self::LongBacklog => worker::rate(rig, &Setup::usual(rig.scale.long_backlog)).await,
            Self::Stored => known.filled(rig).await?.rate(rig).await,
            Self::Latency => latency::run(rig, Pace::QUIET).await,
            Self::LatencyAtHalf => latency::run(rig, Pace::busy(known.rate(rig).await? / 2.0)).await,
            Self::Idle => idle::run(rig).await,
            Self::Prune => prune::run(rig, rig.scale.stored_rows).await,
            Self::Soak(time) => soak::run(rig, *time).await,
            Self::Peer(_, command) => peer::run(rig, command).await,
        }
    }
}

/// What earlier measurements leave to later ones.
#[derive(Default)]
struct Known {
    filled: Option<Filled>,
    /// The rates of `worker.hmac`.
    rates: Vec<f64>,
}

impl Known {
    async fn filled(&mut self, rig: &Rig) -> Result<&Filled> {
        if self.filled.is_none() {
            self.filled = Some(Filled::new(rig, rig.scale.stored_rows).await?);
        }
        self.filled.as_ref().ok_or_else(|| "nothing was filled".into())
    }

    /// The most that the worker does; measured where it was not asked for.
    async fn rate(&mut self, rig: &Rig) -> Result<f64> {
        if self.rates.is_empty() {
            self.rates.push(worker::rate(rig, &Variant::Hmac.setup(&rig.scale)).await?.rate());
        }
        stats::median(self.rates.iter().copied()).ok_or_else(|| "no rate was measured".into())
    }
}

impl Variant {
    fn word(self) -> String {
        match self {
            Self::Sha512 => "sha512".into(),
            Self::Hmac => "hmac".into(),
            Self::Sdk => "sdk".into(),
            Self::VaultNew => "vault.new".into(),
            Self::VaultRepeating => "vault.repeating".into(),
            Self::Workers(count) => format!("{count}-workers"),
            Self::ShortBacklog => "backlog.short".into(),
        }
    }

    fn what(self, scale: &Scale) -> String {
        match self {
            Self::Sha512 => "plain SHA-512, as limit.pipeline".into(),
            Self::Hmac => "HMAC-SHA-512".into(),
            Self::Sdk => "HMAC, receiving and deleting by the SDK's client".into(),
            Self::VaultNew => "HMAC, vault on, every value new".into(),
            Self::VaultRepeating => "HMAC, vault on, 1,000 different values".into(),
            Self::Workers(count) => format!("HMAC, {count} workers at once; memory of all"),
            Self::ShortBacklog => format!("HMAC, a backlog of {}", scale.short_backlog()),
        }
    }

    fn setup(self, scale: &Scale) -> Setup {
        let usual = Setup::usual(scale.messages);
        match self {
            Self::Sha512 => Setup { masking: Masking::Sha512, ..usual },
            Self::Hmac => usual,
            Self::Sdk => Setup { by_sdk: true, ..usual },
            Self::VaultNew => Setup { vault: true, ..usual },
            Self::VaultRepeating => Setup { vault: true, values: Values::Repeating, ..usual },
            Self::Workers(workers) => Setup { workers, ..usual },
            Self::ShortBacklog => Setup { messages: scale.short_backlog(), ..usual },
        }
    }
}

/// Which steps a round has, by their places in the plan.
fn order(steps: &[Step], round: u32, rounds: u32) -> Vec<usize> {
    let is_last = round + 1 == rounds;
    let mut order: Vec<_> = (0..steps.len()).filter(|index| !steps[*index].is_once()).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    let once = (0..steps.len()).filter(|index| is_last && steps[*index].is_once());
    order.into_iter().chain(once).collect()
}

/// Measures. What fails is said in the report, and the rest is measured.
///
/// # Errors
/// There is nothing to measure on, or nothing to measure.
pub async fn run(options: Options) -> Result<Report> {
    let mut steps = all_steps(&options.peers, options.soak);
    let only = &options.only;
    steps.retain(|step| only.is_empty() || only.iter().any(|start| step.name().starts_with(start.as_str())));
    if steps.is_empty() {
        return Err(format!("nothing has such a name; there are {}", names().join(", ")).into());
    }
    for program in PROGRAMS {
        beside(program).map_err(|error| format!("{error}; `cargo xtask bench` builds all that is needed"))?;
    }
    let scale = options.scale;
    let rig = Rig::new(scale, options.database_url).await?;
    let conditions = machine::conditions(scale.name, &options.command, rig.describe_postgres().await?);
    let measurement =
        |step: &Step| Measurement { name: step.name(), what: step.what(&scale), runs: Vec::new() };
    let mut measurements: Vec<_> = steps.iter().map(measurement).collect();
    let (mut failures, mut known) = (Vec::new(), Known::default());
    let since = Instant::now();
    for round in 0..scale.repeats {
        for index in order(&steps, round, scale.repeats) {
            // Some steps never wait: whoever wants to end this has to have a chance between them.
            tokio::task::yield_now().await;
            let name = &measurements[index].name;
            match Box::pin(steps[index].measure(&rig, &mut known)).await {
                Ok(run) => {
                    let (seconds, rate) = (since.elapsed().as_secs(), run.rate());
                    say(&format!(
                        "{seconds} s: round {} of {}: {name}: {rate:.0} messages/s",
                        round + 1,
                        scale.repeats
                    ));
                    if steps[index] == Step::Worker(Variant::Hmac) {
                        known.rates.push(run.rate());
                    }
                    measurements[index].runs.push(run);
                }
                Err(error) => {
                    say(&format!("{name} FAILED: {error}"));
                    failures.push(format!("{name}: {error}"));
                }
            }
        }
    }
    measurements.retain(|measurement| !measurement.runs.is_empty());
    Ok(Report { format: FORMAT, conditions, measurements, failures })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_different() {
        let steps = all_steps(&["a".into(), "b".into()], Some(Duration::from_secs(1)));
        let names: BTreeSet<_> = steps.iter().map(Step::name).collect();
        assert_eq!(names.len(), steps.len());
    }

    #[test]
    fn each_round_has_all_and_every_other_one_goes_backwards() {
        let steps = [Step::Queue, Step::Idle, Step::Core, Step::Stored];
        assert_eq!(order(&steps, 0, 3), [0, 2, 3]);
        assert_eq!(order(&steps, 1, 3), [3, 2, 0]);
        assert_eq!(order(&steps, 2, 3), [0, 2, 3, 1]);
        assert_eq!(order(&steps, 0, 1), [0, 2, 3, 1]);
    }
}
