//! Row 4: a Postgres that restarts, throws clients out, has no room, or takes no writes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use fetch_etl_scratch_postgres::Shutdown;
use sqlx::{Connection as _, PgConnection};

use super::bench::Bench;
use super::report::Outcome;
use super::rig::{Rig, last_line, until};
use super::{Trial, caught};
use crate::Conservation;

/// As whom the worker comes: not as a superuser, for whom the server keeps slots free.
const USER: &str = "etl";

/// How soon rows must come again.
const SOON: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Outage {
    ImmediateRestart,
    FastRestart,
    Terminated,
    Full,
    ReadOnly,
}

impl Outage {
    const ALL: [Self; 5] =
        [Self::ImmediateRestart, Self::FastRestart, Self::Terminated, Self::Full, Self::ReadOnly];
}

pub(super) async fn outages(bench: Arc<Bench>) -> Outcome {
    let mut outcome = Outcome::of("outages");
    let each = bench.scale.of(2, 20);
    let mut slowest = Duration::ZERO;
    for outage in Outage::ALL {
        let result = caught(one_kind(&bench, outage, each, &mut slowest)).await.and_then(|result| result);
        outcome.add(each, &format!("{outage:?}"), result);
        // The next kind finds a database that works.
        let healthy = caught(heal(&bench)).await.and_then(|result| result);
        if let Err(why) = healthy {
            outcome.failures.push(format!("after {outage:?}: {why}"));
            return outcome;
        }
    }
    if outcome.holds() {
        outcome.note(format!(
            "{each} each of immediate and fast restart, terminated sessions, no free slot, read-only; first row at most {:.1} s \
             after the end; 0 quarantined",
            slowest.as_secs_f64()
        ));
    }
    outcome
}

async fn one_kind(bench: &Arc<Bench>, outage: Outage, times: u64, slowest: &mut Duration) -> Trial {
    let mut rng = Rng::with_seed(bench.seed(4, outage as u64));
    let mut rig = Rig::new(bench, rng.u64(..), 3).await.direct(USER);
    own_by_worker(bench, &rig).await?;
    let worker = rig.worker(&[]);
    for time in 0..times {
        bench.progress_line(|| format!("{outage:?}, {time} of {times}"));
        let took =
            one_outage(&mut rig, outage, &mut rng).await.map_err(|why| format!("outage {time}: {why}"))?;
        *slowest = took.max(*slowest);
    }
    rig.until_rows(rig.sent()).await?;
    worker.signal("TERM");
    let ended = worker.wait();
    if ended.status.code() != Some(0) {
        return Err(format!("the worker failed: {}", last_line(&ended.stderr)));
    }
    Conservation::settled(&ended.stdout)?;
    match rig.count_rejects().await {
        0 => rig.settle().await,
        rejects => Err(format!("{rejects} messages are in the quarantine")),
    }
}

/// Returns how long after the end of the outage the next row came.
async fn one_outage(rig: &mut Rig, outage: Outage, rng: &mut Rng) -> Trial<Duration> {
    rig.send_logins(200).await;
    rig.until_rows(rig.sent()).await?;
    let lasts = Duration::from_millis(rng.u64(200..3_000));
    // While it lasts nothing can be stored, and these wait.
    let during = begin(rig, outage).await?;
    rig.send_logins(200).await;
    let until_then = Instant::now() + lasts;
    while Instant::now() < until_then {
        if matches!(outage, Outage::Terminated) {
            terminate(&mut during_admin(rig).await?).await?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let rows = rig.sent() - 200;
    end(rig, outage, during).await?;
    let ended = Instant::now();
    rig.until_rows(rows + 1).await?;
    let took = ended.elapsed();
    if took > SOON { Err(format!("the first row came after {:.1} s", took.as_secs_f64())) } else { Ok(took) }
}

/// Connections that take the slots for as long as they are held.
type Hogs = Vec<PgConnection>;

async fn begin(rig: &Rig, outage: Outage) -> Trial<Hogs> {
    let cluster = &rig.bench.cluster;
    match outage {
        Outage::ImmediateRestart => stop(rig, Shutdown::Immediate)?,
        Outage::FastRestart => stop(rig, Shutdown::Fast)?,
        Outage::Terminated => {}
        Outage::Full => return take_all_slots(rig).await,
        Outage::ReadOnly => {
            let read_only = "default_transaction_read_only = on\n";
            cluster
                .configure(read_only)
                .and_then(|()| cluster.reload())
                .map_err(|error| error.to_string())?;
            let mut admin = during_admin(rig).await?;
            until("the database is read-only", async || shows(&mut admin, "on").await).await?;
        }
    }
    Ok(Hogs::new())
}

async fn end(rig: &Rig, outage: Outage, hogs: Hogs) -> Trial {
    let cluster = &rig.bench.cluster;
    match outage {
        Outage::ImmediateRestart | Outage::FastRestart => {
            cluster.start_again().map_err(|error| error.to_string())
        }
        Outage::Terminated => Ok(()),
        Outage::Full => {
            for hog in hogs {
                let _ = hog.close().await;
            }
            Ok(())
        }
        Outage::ReadOnly => writable(rig.bench.as_ref()).await,
    }
}

/// Whatever an outage that failed left behind.
async fn heal(bench: &Bench) -> Trial {
    if PgConnection::connect(&bench.cluster.url()).await.is_err() {
        bench.cluster.start_again().map_err(|error| error.to_string())?;
    }
    writable(bench).await
}

async fn writable(bench: &Bench) -> Trial {
    let cluster = &bench.cluster;
    let writable = "default_transaction_read_only = off\n";
    cluster.configure(writable).and_then(|()| cluster.reload()).map_err(|error| error.to_string())?;
    let mut admin = connect(&cluster.url()).await?;
    until("the database is writable", async || shows(&mut admin, "off").await).await
}

fn stop(rig: &Rig, how: Shutdown) -> Trial {
    rig.bench.cluster.stop(how).map_err(|error| error.to_string())
}

async fn shows(admin: &mut PgConnection, value: &str) -> bool {
    let shown: Result<String, _> =
        sqlx::query_scalar("SHOW default_transaction_read_only").fetch_one(admin).await;
    shown.is_ok_and(|shown| shown == value)
}

async fn connect(url: &str) -> Trial<PgConnection> {
    PgConnection::connect(url).await.map_err(|error| format!("cannot connect: {error}"))
}

async fn during_admin(rig: &Rig) -> Trial<PgConnection> {
    connect(&rig.bench.cluster.url()).await
}

/// Makes the worker's role, and lets it have its database.
async fn own_by_worker(bench: &Bench, rig: &Rig) -> Trial {
    let mut admin = connect(&bench.cluster.url()).await?;
    let role =
        format!("DO $$ BEGIN CREATE ROLE {USER} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    let owner = format!("ALTER DATABASE \"{}\" OWNER TO {USER}", rig.database.name());
    for statement in [role, owner] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
            .execute(&mut admin)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Ends the worker's sessions, and says how many it had.
async fn terminate(admin: &mut PgConnection) -> Trial<i64> {
    let statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1 AND application_name <> 'hog'";
    sqlx::query_scalar(statement).bind(USER).fetch_one(admin).await.map_err(|error| error.to_string())
}

/// Takes every slot that is not kept for superusers, those of the worker as soon as it is thrown out of them.
async fn take_all_slots(rig: &Rig) -> Trial<Hogs> {
    let mut admin = during_admin(rig).await?;
    let url = rig.bench.cluster.url().replace("postgres@", &format!("{USER}@"));
    let url = format!("{url}?application_name=hog");
    let mut hogs = Hogs::new();
    let since = Instant::now();
    loop {
        while let Ok(hog) = PgConnection::connect(&url).await {
            hogs.push(hog);
        }
        if terminate(&mut admin).await? == 0 {
            return Ok(hogs);
        }
        if since.elapsed() > super::rig::PATIENCE {
            return Err("the worker keeps its slots".to_owned());
        }
    }
}
