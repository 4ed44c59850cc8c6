//! The observer: it asks the queue how far it is and `/proc` what each process took, and does nothing else.
//!
//! A measurement begins with the last look before the first message was handed out, and ends with the first look at which all are
//! deleted. So starting up is not measured, and all that was done for any message is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fetch_etl_harness::LocalQueue;

use crate::Result;
use crate::proc::{self, MachineCpu, Processes};
use crate::report::{CLIENT, OBSERVER, POSTGRES, QUEUE, Run};
use crate::rig::Rig;
use crate::sqs::Connection;

const LOOK_EACH: Duration = Duration::from_millis(5);

/// A queue that moves nothing for so long is stuck: longer than any pause of a client that works.
const STUCK: Duration = Duration::from_secs(60);

/// Which processes are watched, by the name under which they appear.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched(BTreeMap<&'static str, Vec<u32>>);

impl Watched {
    /// The server, where it is known, and this process.
    pub(crate) fn of(rig: &Rig) -> Self {
        let mut watched = Self::default();
        rig.postmaster().into_iter().for_each(|id| watched.add(POSTGRES, id));
        watched
    }

    pub(crate) fn and_queue(mut self, queue: &LocalQueue) -> Self {
        self.add(QUEUE, queue.process_id());
        self
    }

    pub(crate) fn and_clients(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        ids.into_iter().for_each(|id| self.add(CLIENT, id));
        self
    }

    fn add(&mut self, name: &'static str, id: u32) {
        self.0.entry(name).or_default().push(id);
    }

    fn clients(&self) -> &[u32] {
        self.0.get(CLIENT).map_or(&[], Vec::as_slice)
    }

    /// Looks at them.
    pub(crate) fn look(&self) -> Look {
        let at = Instant::now();
        let processes = Processes::now();
        let sum = |ids: &Vec<u32>| ids.iter().map(|id| processes.cpu_of_tree(*id)).sum();
        let mut cpu: BTreeMap<_, Duration> = self.0.iter().map(|(name, ids)| (*name, sum(ids))).collect();
        cpu.insert(OBSERVER, proc::own_cpu());
        Look { at, cpu, machine: MachineCpu::now() }
    }

    /// The clients' peak memory, all together; a tree's processes each count with their own.
    pub(crate) fn peak_rss_bytes(&self) -> Option<u64> {
        let processes = Processes::now();
        let all = self.clients().iter().flat_map(|id| processes.tree(*id));
        all.filter_map(proc::peak_memory).reduce(|a, b| a + b)
    }
}

/// What processes took until a moment.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    pub(crate) at: Instant,
    cpu: BTreeMap<&'static str, Duration>,
    machine: MachineCpu,
}

impl Look {
    /// What happened from an earlier look to this one.
    pub(crate) fn since(&self, before: &Self, messages: u64) -> Run {
        let seconds = (self.at - before.at).as_secs_f64();
        let of = |name: &str| before.cpu.get(name).copied().unwrap_or_default();
        let took = self
            .cpu
            .iter()
            .map(|(name, cpu)| ((*name).to_owned(), cpu.saturating_sub(of(name)).as_secs_f64()));
        let cpu_seconds: BTreeMap<_, _> = took.collect();
        Run {
            messages,
            seconds,
            others: self.others(before, &cpu_seconds, seconds),
            cpu_seconds,
            ..Run::default()
        }
    }

    /// What of the machine was not ours. `None` where Postgres is not among what we know: it would count as somebody else.
    fn others(&self, before: &Self, ours: &BTreeMap<String, f64>, seconds: f64) -> Option<f64> {
        let cores = std::thread::available_parallelism().ok()?.get() as f64;
        self.cpu.contains_key(POSTGRES).then_some(())?;
        let busy = self.machine.busy.saturating_sub(before.machine.busy).as_secs_f64();
        let stolen = self.machine.stolen.saturating_sub(before.machine.stolen).as_secs_f64();
        let foreign = (busy - ours.values().sum::<f64>()).max(0.0) + stolen;
        (seconds > 0.0).then(|| (foreign / (cores * seconds)).min(1.0))
    }
}

/// When to stop looking.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// All messages are deleted; anything else is an error.
    Empty,
    /// All messages are deleted, or this much time has passed since the first was handed out.
    EmptyOr(Duration),
}

/// Watches clients empty a queue that held `messages` when they were started.
pub(crate) async fn drain(queue: &LocalQueue, watched: &Watched, messages: u64, until: Until) -> Result<Run> {
    let mut connection = Connection::open(queue.endpoint(), queue.url()).await?;
    let mut before = watched.look();
    let mut moved = (Instant::now(), 0);
    loop {
        let looked = Instant::now();
        let figures = connection.figures().await?;
        if figures.deliveries == 0 {
            before = watched.look();
        }
        let progress = figures.deliveries + figures.deleted;
        if progress != moved.1 {
            moved = (looked, progress);
        }
        let is_out_of_time = match until {
            Until::Empty => false,
            Until::EmptyOr(time) => figures.deliveries > 0 && looked - before.at >= time,
        };
        if figures.deleted >= messages || is_out_of_time {
            let mut run = watched.look().since(&before, figures.deleted);
            run.peak_rss_bytes = watched.peak_rss_bytes();
            return Ok(run);
        }
        if !watched.clients().iter().copied().any(proc::is_alive) {
            return Err(format!("it ended with {} of {messages} messages deleted", figures.deleted).into());
        }
        if moved.0.elapsed() > STUCK {
            return Err(format!(
                "nothing moves any more, with {} of {messages} messages deleted",
                figures.deleted
            )
            .into());
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(at: Instant, cpu: &[(&'static str, u64)], busy: u64, stolen: u64) -> Look {
        let cpu = cpu.iter().map(|(name, seconds)| (*name, Duration::from_secs(*seconds))).collect();
        Look {
            at,
            cpu,
            machine: MachineCpu { busy: Duration::from_secs(busy), stolen: Duration::from_secs(stolen) },
        }
    }

    #[test]
    fn what_was_taken_is_the_difference() {
        let cores = std::thread::available_parallelism().unwrap().get() as u64;
        let start = Instant::now();
        let before = look(start, &[(POSTGRES, 100)], 1_000, 10);
        let now = look(
            start + Duration::from_secs(10),
            &[(CLIENT, 4), (POSTGRES, 103)],
            1_000 + 7 + cores,
            10 + cores,
        );
        let run = now.since(&before, 500);
        assert_eq!((run.messages, run.seconds), (500, 10.0));
        assert_eq!(run.cpu_seconds, [(CLIENT.to_owned(), 4.0), (POSTGRES.to_owned(), 3.0)].into());
        // One core second of each core was somebody else's, and one was stolen, of ten.
        assert!((run.others.unwrap() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn with_an_unknown_postgres_nobody_knows_who_the_others_are() {
        let start = Instant::now();
        let now = look(start + Duration::from_secs(1), &[(CLIENT, 1)], 1, 0);
        assert_eq!(now.since(&look(start, &[], 0, 0), 1).others, None);
    }
}
