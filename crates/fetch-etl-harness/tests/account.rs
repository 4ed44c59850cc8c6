//! What a worker says at its end, on stdout and in its log, and what the queue counted meanwhile.

use std::time::Duration;

use fetch_etl_harness::{Ended, LocalQueue, Running};
use serde_json::Value;

/// The conservation line of a worker that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) received: u64,
    pub(crate) inserted: u64,
    pub(crate) duplicates: u64,
    pub(crate) quarantined: u64,
    pub(crate) returned: u64,
    pub(crate) in_flight: u64,
    pub(crate) leases_lost: u64,
}

impl Account {
    /// Reads the numbers off the log and fails unless they add up and stdout has the same ones.
    #[track_caller]
    pub(crate) fn of(ended: &Ended) -> Self {
        let stopped = events(ended, "stopped");
        let [stopped] = &stopped[..] else { panic!("not one event of the end:\n{}", ended.stderr) };
        let number =
            |name: &str| stopped[name].as_u64().unwrap_or_else(|| panic!("{name} is no number in {stopped}"));
        let account = Self {
            received: number("received"),
            inserted: number("inserted"),
            duplicates: number("duplicates"),
            quarantined: number("quarantined"),
            returned: number("returned"),
            in_flight: number("in_flight"),
            leases_lost: number("leases_lost"),
        };
        let Self { received, inserted, duplicates, quarantined, returned, in_flight, .. } = account;
        assert_eq!(received, inserted + duplicates + quarantined + returned + in_flight, "{stopped}");
        assert_eq!(number("unaccounted"), 0, "{stopped}");
        let line = format!(
            "received {received} = inserted {inserted} + duplicates {duplicates} + quarantined {quarantined} + \
             returned {returned} + in flight {in_flight}"
        );
        assert_eq!(ended.stdout.lines().next(), Some(&*line), "stdout says the same:\n{}", ended.stdout);
        account
    }
}

/// The log lines of one event.
pub(crate) fn events(ended: &Ended, name: &str) -> Vec<Value> {
    let lines = ended.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == name).collect()
}

/// Waits until the figures of [`LocalQueue::NAME`] are so, and fails with what the worker said if they are not within a minute.
pub(crate) async fn wait_for_figures(
    queue: &LocalQueue,
    worker: Running,
    reached: impl Fn(&Value) -> bool,
) -> Running {
    let waiting = async {
        while !reached(&queue.figures(LocalQueue::NAME).await) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), waiting).await.is_err() {
        let said = worker.kill().stderr;
        panic!("{}\n{said}", queue.figures(LocalQueue::NAME).await);
    }
    worker
}
