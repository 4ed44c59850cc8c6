//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use fetch_etl_local_sqs::{FaultPlan, PlanError, QueueConfig};

const EXAMPLES: &str = "\
Examples:
  A queue on the usual port, filled with one message for each line of a file:
    fetch-etl-local-sqs --queue logins --load logins.jsonl

  A queue whose messages go to another one after three receives:
    fetch-etl-local-sqs --queue logins,visibility-timeout=5 --dead-letter logins=logins-dead,max-receive-count=3

  Any free port; the line on stdout tells which:
    fetch-etl-local-sqs --port 0 --queue logins
    {\"endpoint\":\"http://127.0.0.1:40123\",\"queues\":{\"logins\":\"http://127.0.0.1:40123/000000000000/logins\"}}

  A queue that delivers every fifth message again and loses the first three answers:
    fetch-etl-local-sqs --queue logins --fault logins:redeliver=0.2,cut-after=1x3 --fault-seed 7

  A queue that does what a delete asks for, but answers only after ten minutes:
    fetch-etl-local-sqs --queue logins --fault logins:slow=1,slow-ms=600000,calls=delete

  Then, with any credentials:
    AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_DEFAULT_REGION=us-east-1 \\
      aws --endpoint-url http://127.0.0.1:9324 sqs list-queues";

/// An SQS-compatible queue server in memory, for demos, tests and benchmarks.
///
/// Speaks the AWS JSON protocol, so the AWS SDKs, the AWS CLI and boto3 can use it. Does not look at credentials: keep
/// it on the loopback address. Stops on SIGTERM and SIGINT.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,

    /// Port to listen on; 0 for any free one
    #[arg(long, default_value_t = 9324)]
    pub(crate) port: u16,

    /// Queue to create, with any of visibility-timeout, delay, retention, wait (seconds) and max-message-bytes; can be
    /// given several times
    #[arg(long = "queue", value_name = "NAME[,KEY=VALUE]…")]
    queues: Vec<QueueArg>,

    /// Where messages of a queue go after so many receives (10 by default); that queue is created too
    #[arg(long = "dead-letter", value_name = "QUEUE=DEAD_LETTER_QUEUE[,max-receive-count=N]")]
    dead_letters: Vec<DeadLetterArg>,

    /// What is to go wrong in a queue, and with which probability: redeliver, redeliver-deleted, reorder, keep,
    /// stale-handle, entry-sender-fault, entry-service-fault, throttle, internal-error, drop, cut-before,
    /// internal-error-after, cut-after, slow, slow-before. `1x3` means the first three times and no more. Also slow-ms=N (1000),
    /// sends=true to let sends suffer too, and calls=delete to keep the faults for whole calls (from throttle on) to some,
    /// joined with +: receive, delete, change-visibility, send, get-url, get-attributes, set-attributes, purge. Can be changed while the server runs, at /control/queues/QUEUE/faults
    #[arg(long = "fault", value_name = "QUEUE:KIND=PROBABILITY[,…]")]
    faults: Vec<FaultArg>,

    /// Makes other faults happen than seed 0 does; the same seed makes the same ones happen
    #[arg(long)]
    fault_seed: Option<u64>,

    /// File with one message a line, to be sent to the first queue
    #[arg(long, value_name = "FILE")]
    pub(crate) load: Option<PathBuf>,

    /// Region in the ARNs of the queues
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,

    /// Makes message ids and receipt handles repeatable
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

impl Cli {
    /// The queues to create, with their dead-letter queues.
    pub(crate) fn queues(&self) -> Result<Vec<QueueConfig>, String> {
        let mut queues: Vec<QueueConfig> = self.queues.iter().map(|queue| queue.0.clone()).collect();
        for link in &self.dead_letters {
            let queue = queues.iter_mut().find(|queue| queue.name() == link.queue);
            let queue = queue
                .ok_or_else(|| format!("--dead-letter names the queue {}, --queue does not", link.queue))?;
            *queue = queue.clone().dead_letter(&link.target, link.max_receive_count);
        }
        Ok(queues)
    }

    /// What is to go wrong, by the names of the queues.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&str, FaultPlan)> {
        self.faults.iter().map(|fault| {
            let plan = fault.plan.clone();
            (&*fault.queue, self.fault_seed.into_iter().fold(plan, FaultPlan::seed))
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
struct FaultArg {
    queue: String,
    plan: FaultPlan,
}

impl FromStr for FaultArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (queue, plan) = text.split_once(':').ok_or("expected QUEUE:KIND=PROBABILITY")?;
        let plan = plan.parse().map_err(|error: PlanError| error.to_string())?;
        Ok(Self { queue: queue.to_owned(), plan })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct QueueArg(QueueConfig);

impl FromStr for QueueArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let queue = QueueConfig::new(parts.next().unwrap_or_default());
        parts.try_fold(queue, apply).map(Self)
    }
}

fn apply(queue: QueueConfig, setting: &str) -> Result<QueueConfig, String> {
    let (key, value) = setting.split_once('=').ok_or_else(|| format!("{setting:?} is not KEY=VALUE"))?;
    let number: u32 = value.parse().map_err(|_| format!("{key} takes a whole number, not {value:?}"))?;
    let duration = Duration::from_secs(number.into());
    match key {
        "visibility-timeout" => Ok(queue.visibility_timeout(duration)),
        "delay" => Ok(queue.delay(duration)),
        "retention" => Ok(queue.retention(duration)),
        "wait" => Ok(queue.receive_wait(duration)),
        "max-message-bytes" => Ok(queue.max_message_bytes(number as usize)),
        _ => Err(format!(
            "unknown key {key:?}; there are visibility-timeout, delay, retention, wait and max-message-bytes"
        )),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct DeadLetterArg {
    queue: String,
    target: String,
    max_receive_count: u32,
}

impl FromStr for DeadLetterArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (link, count) = text.split_once(',').unwrap_or((text, "max-receive-count=10"));
        let (queue, target) = link.split_once('=').ok_or("expected QUEUE=DEAD_LETTER_QUEUE")?;
        let count = count.strip_prefix("max-receive-count=").and_then(|number| number.parse().ok());
        let max_receive_count = count.ok_or("expected max-receive-count=N after the comma")?;
        Ok(Self { queue: queue.to_owned(), target: target.to_owned(), max_receive_count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(arguments: &[&str]) -> Result<Vec<QueueConfig>, String> {
        let command_line = ["fetch-etl-local-sqs"].iter().chain(arguments);
        Cli::try_parse_from(command_line).map_err(|error| error.to_string())?.queues()
    }

    #[test]
    fn queues_and_their_dead_letter_queues_are_described() {
        let described = queues(&[
            "--queue",
            "logins,visibility-timeout=5,wait=20",
            "--queue=other",
            "--dead-letter=logins=dead,max-receive-count=3",
            "--dead-letter",
            "other=dead",
        ]);
        let logins = QueueConfig::new("logins")
            .visibility_timeout(Duration::from_secs(5))
            .receive_wait(Duration::from_secs(20))
            .dead_letter("dead", 3);
        assert_eq!(described, Ok(vec![logins, QueueConfig::new("other").dead_letter("dead", 10)]));
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, named) in [
            (&["--queue=q,visibility=5"][..], "unknown key"),
            (&["--queue=q,delay"], "is not KEY=VALUE"),
            (&["--queue=q,delay=soon"], "whole number"),
            (&["--dead-letter=q"], "QUEUE=DEAD_LETTER_QUEUE"),
            (&["--queue=q", "--dead-letter=q=d,3"], "max-receive-count=N"),
            (&["--dead-letter=q=d"], "--queue does not"),
            (&["--fault=q"], "QUEUE:KIND=PROBABILITY"),
            (&["--fault=q:resend=1"], "unknown fault"),
            (&["--fault=q:keep=2"], "from 0 to 1"),
            (&["--fault=q:drop=1,calls=deletes"], "change-visibility"),
        ] {
            let error = queues(arguments).unwrap_err();
            assert!(error.contains(named), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn faults_are_described_by_queue_and_share_a_seed() {
        let parsed = Cli::try_parse_from([
            "fetch-etl-local-sqs",
            "--fault=logins:keep=0.5,slow=1x2",
            "--fault=dead:drop=1,calls=delete+receive",
            "--fault-seed=7",
        ]);
        let cli = parsed.unwrap();
        let described: Vec<_> = cli.faults().collect();
        let expected = [
            ("logins", "keep=0.5,slow=1x2,seed=7".parse().unwrap()),
            ("dead", "drop=1,seed=7,calls=receive,calls=delete".parse().unwrap()),
        ];
        assert_eq!(described, expected);
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
