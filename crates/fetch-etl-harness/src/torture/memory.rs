//! Row 10: a long queue and a database that does not answer.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::load::Logins;
use super::report::Outcome;
use super::rig::{Rig, last_line, until};
use super::{Trial, caught};
use crate::{Conservation, LocalQueue, Running};

const MIB: u64 = 1024 * 1024;
const MOST: u64 = 128 * MIB;

pub(super) async fn backlog(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("run");
    let (messages, stall) =
        bench.scale.of((100_000, Duration::from_secs(10)), (1_000_000, Duration::from_secs(60)));
    let result = caught(stalled(&bench, messages, stall)).await.and_then(|result| result);
    if let Ok(Peaks { stalled, in_all }) = &result {
        outcome.note(format!(
            "backlog of {messages}, Postgres stalled for {} s: peak RSS {} MiB, until all was stored {} MiB, of {} MiB",
            stall.as_secs(),
            stalled.div_ceil(MIB),
            in_all.div_ceil(MIB),
            MOST / MIB
        ));
    }
    outcome.add(1, "the run", result.map(drop));
    outcome
}

struct Peaks {
    stalled: u64,
    in_all: u64,
}

async fn stalled(bench: &Arc<Bench>, messages: u64, stall: Duration) -> Trial<Peaks> {
    let seed = bench.seed(10, 0);
    let file = bench.file("backlog.jsonl");
    write_backlog(&file, seed, messages).map_err(|error| format!("cannot write the backlog: {error}"))?;
    let load = file.to_str().ok_or("the temporary directory's name is not UTF-8")?;
    let queue = LocalQueue::start(20, &["--load", load]);
    let rig = Rig::with_queue(bench, seed, queue).await;
    let worker = rig.worker(&[]);
    rig.until_rows(1).await?;
    rig.proxy.stall();
    let since = Instant::now();
    while since.elapsed() < stall {
        bench.progress_line(|| format!("stalled for {} s", since.elapsed().as_secs()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stalled = peak(&worker)?;
    rig.proxy.release();
    until("the backlog is stored", async || {
        let rows = rig.count_rows().await;
        bench.progress_line(|| format!("{rows} of {messages} rows"));
        rows >= messages
    })
    .await?;
    let in_all = peak(&worker)?;
    worker.signal("TERM");
    let ended = worker.wait();
    if ended.status.code() != Some(0) {
        return Err(format!("the worker failed: {}", last_line(&ended.stderr)));
    }
    Conservation::settled(&ended.stdout)?;
    let rows = rig.count_rows().await;
    match (rows == messages, in_all <= MOST) {
        (true, true) => Ok(Peaks { stalled, in_all }),
        (false, _) => Err(format!("{rows} rows of {messages} messages")),
        (_, false) => Err(format!("it had {} MiB, of {} MiB", in_all.div_ceil(MIB), MOST / MIB)),
    }
}

fn peak(worker: &Running) -> Trial<u64> {
    worker.peak_memory().ok_or_else(|| "this system does not say how much memory a process had".to_owned())
}

fn write_backlog(path: &std::path::Path, seed: u64, messages: u64) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut logins = Logins::new(seed);
    for _ in 0..messages {
        for login in logins.take(1) {
            writeln!(file, "{login}")?;
        }
    }
    file.into_inner()?.sync_all()
}
