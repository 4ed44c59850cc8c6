//! A ledger full of keys past retention: what it takes to forget them.

use std::time::Instant;

use sqlx::PgConnection;

use crate::report::Run;
use crate::rig::Rig;
use crate::{Result, say};

const RETENTION_DAYS: i32 = 35;
/// Days past retention, each a partition of the ledger.
const DAYS: u64 = 10;
/// Of so many keys, one is a producer's: those have no day, and are deleted row by row.
const ONE_UNDATED_OF: u64 = 100;
/// As many as `etl.prune_ledger` deletes with one call.
const CHUNK: i64 = 10_000;

const PARTITIONS: &str = "
SELECT count(*)
FROM etl.ensure_ledger_partitions(ARRAY(SELECT etl.utc_today() - $1 - n FROM generate_series(1, $2) AS n), 1000)";

const DATED: &str = "
INSERT INTO etl.ledger (sent_at_millis, key)
SELECT
    (etl.utc_today() - $1 - 1 - (number % $2)::integer - date '1970-01-01') * bigint '86400000' + number % 86400000,
    md5(number::text)::uuid::text
FROM generate_series($3::bigint, $4::bigint) AS number";

const UNDATED: &str = "
INSERT INTO etl.ledger (sent_at_millis, recorded_on, key)
SELECT -1, etl.utc_today() - $1 - 1, 'p-' || number FROM generate_series(1, $2::bigint) AS number";

const ROWS_AT_ONCE: u64 = 1_000_000;

pub(crate) async fn run(rig: &Rig, rows: u64) -> Result<Run> {
    let database = rig.migrated_database().await?;
    let mut connection = database.connect().await;
    let since = Instant::now();
    let undated = (rows / ONE_UNDATED_OF).max(1);
    fill(&mut connection, rows, undated).await?;
    say(&format!("filled the ledger with {rows} old keys in {} s", since.elapsed().as_secs()));
    rig.settle().await?;
    let dated = Instant::now();
    let mut deleted = prune(&mut connection).await?;
    let first_call = dated.elapsed();
    let mut calls = 1;
    while deleted >= CHUNK {
        deleted = prune(&mut connection).await?;
        calls += 1;
    }
    let seconds = dated.elapsed().as_secs_f64();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM etl.ledger").fetch_one(&mut connection).await?;
    if left != 0 {
        return Err(format!("{left} keys past retention are still there").into());
    }
    let figures = [
        ("first_call_ms", first_call.as_secs_f64() * 1e3),
        ("calls", f64::from(calls)),
        ("partitions", DAYS as f64),
    ];
    Ok(Run {
        messages: rows + undated,
        seconds,
        figures: figures.map(|(name, value)| (name.to_owned(), value)).into(),
        ..Run::default()
    })
}

async fn fill(connection: &mut PgConnection, rows: u64, undated: u64) -> Result<()> {
    let days = i32::try_from(DAYS)?;
    sqlx::query(PARTITIONS).bind(RETENTION_DAYS).bind(days).execute(&mut *connection).await?;
    let mut from = 0;
    while from < rows {
        let to = (from + ROWS_AT_ONCE).min(rows);
        let (first, last) = (i64::try_from(from + 1)?, i64::try_from(to)?);
        let dated = sqlx::query(DATED).bind(RETENTION_DAYS).bind(days).bind(first).bind(last);
        dated.execute(&mut *connection).await?;
        from = to;
    }
    let undated = i64::try_from(undated)?;
    sqlx::query(UNDATED).bind(RETENTION_DAYS).bind(undated).execute(connection).await?;
    Ok(())
}

async fn prune(connection: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("SELECT etl.prune_ledger($1)").bind(RETENTION_DAYS).fetch_one(connection).await?)
}
