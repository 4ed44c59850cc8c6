//! Stored masks are brought up to a newer key, whatever the table is like.

use std::time::Duration;

use fetch_etl_core::{
    ErrorClass, KeyId, MaskPolicy, MaskedValue, PolicyStore as _, Remask, Rotation as _, RotationProgress,
    SinkError,
};
use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::Bench;

/// Adds a digit to what a mask begins with: easy to see, and to do wrong.
struct Next;

impl Remask for Next {
    fn target(&self) -> KeyId {
        KeyId::new(2)
    }
    fn origins(&self) -> Vec<KeyId> {
        vec![KeyId::new(1)]
    }
    fn concerns(&self, field: &str) -> bool {
        field == "ip"
    }
    fn remask(&self, _: &str, mask: &str, made_with: KeyId) -> Option<MaskedValue> {
        assert_eq!(made_with, KeyId::new(1));
        mask.strip_prefix("old").map(|rest| MaskedValue::from_masked_text(format!("new{rest}")))
    }
}

const ROWS: i64 = 6_000;

async fn fill(bench: &mut Bench) {
    bench
        .execute(&format!(
            "INSERT INTO user_logins (user_id, masked_ip, masked_device_id, mask_key_id, create_date)
            SELECT 'u-' || n, 'old-' || n || repeat('x', 200), 'device', 1, date '2026-01-01' + (n % 300)::integer
            FROM generate_series(1, {ROWS}) AS n"
        ))
        .await;
}

async fn rotate(bench: &Bench, unnamed: Option<KeyId>) -> RotationProgress {
    let stop = CancellationToken::new();
    bench.sink.remask_all(&Next, unnamed, &|_| {}, &stop).await.unwrap()
}

#[tokio::test]
async fn every_row_is_brought_up_and_every_other_column_stays() {
    let mut bench = Bench::open().await;
    fill(&mut bench).await;
    bench.execute("UPDATE user_logins SET masked_ip = NULL WHERE user_id = 'u-1'").await;
    bench.execute("UPDATE user_logins SET mask_key_id = 7 WHERE user_id = 'u-2'").await;
    bench.execute("UPDATE user_logins SET masked_ip = 'no mask' WHERE user_id = 'u-3'").await;
    bench.execute("UPDATE user_logins SET mask_key_id = NULL WHERE user_id = 'u-4'").await;
    let done = rotate(&bench, None).await;
    let expected =
        RotationProgress { rows: ROWS as u64 - 3, vault_entries: 0, unreadable: 1, finished: true };
    assert_eq!(done, expected);
    let right: i64 = bench
        .one(
            "SELECT count(*) FROM user_logins WHERE masked_ip IS NOT DISTINCT FROM CASE user_id
                WHEN 'u-1' THEN NULL WHEN 'u-3' THEN 'no mask'
                ELSE CASE WHEN user_id IN ('u-2', 'u-4') THEN 'old-' ELSE 'new-' END || substr(user_id, 3) || repeat('x', 200) END
            AND masked_device_id = 'device' AND create_date = date '2026-01-01' + substr(user_id, 3)::integer % 300
            AND mask_key_id IS NOT DISTINCT FROM CASE user_id WHEN 'u-2' THEN 7 WHEN 'u-3' THEN 1 WHEN 'u-4' THEN NULL ELSE 2 END",
        )
        .await;
    assert_eq!(right, ROWS);
    let by_key = bench.sink.rows_by_key().await.unwrap();
    let counted: Vec<_> = by_key.iter().map(|of| (of.key_id, of.rows)).collect();
    let id = |id| Some(KeyId::new(id));
    assert_eq!(counted, [(id(1), 1), (id(2), ROWS as u64 - 3), (id(7), 1), (None, 1)]);
    let again = rotate(&bench, Some(KeyId::new(1))).await;
    assert_eq!((again.rows, again.unreadable), (1, 1), "the row without an id, and the one that is no mask");
}

#[tokio::test]
async fn the_rows_of_partitions_are_brought_up_too() {
    let mut bench = Bench::open().await;
    bench
        .execute(
            "ALTER TABLE user_logins RENAME TO whole;
            CREATE TABLE user_logins (LIKE whole INCLUDING ALL) PARTITION BY RANGE (create_date);
            CREATE TABLE early PARTITION OF user_logins FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
            CREATE TABLE late PARTITION OF user_logins FOR VALUES FROM ('2026-02-01') TO ('2027-01-01')",
        )
        .await;
    fill(&mut bench).await;
    let done = rotate(&bench, None).await;
    assert_eq!((done.rows, done.finished), (ROWS as u64, true));
    let right: i64 = bench
        .one("SELECT count(*) FROM user_logins WHERE masked_ip = 'new-' || substr(user_id, 3) || repeat('x', 200)")
        .await;
    assert_eq!(right, ROWS);
}

#[tokio::test]
async fn a_stop_ends_it_between_two_batches() {
    let mut bench = Bench::open().await;
    fill(&mut bench).await;
    let stop = CancellationToken::new();
    let done = bench.sink.remask_all(&Next, None, &|_| stop.cancel(), &stop).await.unwrap();
    assert!(!done.finished && done.rows < ROWS as u64, "{done:?}");
    assert_eq!(rotate(&bench, None).await.rows, ROWS as u64 - done.rows);
}

#[tokio::test]
async fn rows_that_somebody_keeps_as_they_are_do_not_hold_it_up_for_ever() {
    let mut bench = Bench::open().await;
    fill(&mut bench).await;
    bench
        .execute(
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER keep BEFORE UPDATE ON user_logins FOR EACH ROW WHEN (OLD.user_id = 'u-1') EXECUTE FUNCTION keep()",
        )
        .await;
    assert_eq!(rotate(&bench, None).await.rows, ROWS as u64 - 1);
}

fn policy_with(key_id: i32) -> MaskPolicy {
    MaskPolicy {
        methods: "ip=hmac-sha512".to_owned(),
        key_id: KeyId::new(key_id),
        key_check: String::new(),
        domain: "default".to_owned(),
        canonical_version: 1,
    }
}

/// A rotation that waits in its middle for a row that somebody holds.
async fn stuck_in_the_middle(
    bench: &mut Bench,
) -> (PgConnection, JoinHandle<Result<RotationProgress, SinkError>>) {
    fill(bench).await;
    bench.sink.put_in_force(&policy_with(2), None).await.unwrap();
    let mut holder = bench.database.connect().await;
    let last = "BEGIN; SELECT FROM user_logins WHERE ctid = (SELECT ctid FROM user_logins ORDER BY ctid DESC LIMIT 1) FOR UPDATE";
    sqlx::raw_sql(last).execute(&mut holder).await.unwrap();
    let sink = bench.sink.clone();
    let rotating =
        tokio::spawn(async move { sink.remask_all(&Next, None, &|_| {}, &CancellationToken::new()).await });
    let waits = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = ({BACKEND}))"
    );
    while !bench.one::<bool>(&waits).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (holder, rotating)
}

/// The session that holds the right to a rotation.
const BACKEND: &str = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = etl.maintenance_lock()";

const NEW_ROWS: &str = "SELECT count(*) FROM user_logins WHERE mask_key_id = 2";

async fn end_its_session(bench: &mut Bench) {
    let ended = bench.one::<bool>(&format!("SELECT pg_terminate_backend(({BACKEND}))")).await;
    assert!(ended);
}

#[tokio::test]
async fn a_rotation_that_loses_its_right_to_somebody_does_nothing_more() {
    let mut bench = Bench::open().await;
    let (mut holder, rotating) = stuck_in_the_middle(&mut bench).await;
    let before: i64 = bench.one(NEW_ROWS).await;
    assert!(0 < before && before < ROWS, "{before}");
    // The next in the queue for the right, which gets it in the moment when it becomes free.
    let mut next = bench.database.connect().await;
    let waiting = tokio::spawn(async move {
        sqlx::raw_sql("SELECT pg_advisory_lock(etl.maintenance_lock())").execute(&mut next).await.unwrap();
        next
    });
    let queued = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    while !bench.one::<bool>(queued).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    end_its_session(&mut bench).await;
    let next = waiting.await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let error = rotating.await.unwrap().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
    assert!(error.to_string().contains("another etl-admin is erasing, rotating or pruning"), "{error}");
    assert_eq!(bench.one::<i64>(NEW_ROWS).await, before);
    drop(next);
    assert_eq!(rotate(&bench, None).await.rows, ROWS as u64 - before as u64);
}

#[tokio::test]
async fn a_rotation_whose_connection_is_cut_takes_its_right_again_and_goes_on() {
    let mut bench = Bench::open().await;
    let (mut holder, rotating) = stuck_in_the_middle(&mut bench).await;
    end_its_session(&mut bench).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let done = rotating.await.unwrap().unwrap();
    assert!(done.finished, "{done:?}");
    assert_eq!((done.rows, bench.one::<i64>(NEW_ROWS).await), (ROWS as u64, ROWS));
}

#[tokio::test]
async fn a_rotation_whose_connection_is_cut_does_not_go_on_under_another_policy() {
    let mut bench = Bench::open().await;
    let (mut holder, rotating) = stuck_in_the_middle(&mut bench).await;
    let before: i64 = bench.one(NEW_ROWS).await;
    bench.sink.put_in_force(&policy_with(3), Some(1)).await.unwrap().unwrap();
    end_its_session(&mut bench).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    let error = rotating.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another masking policy was put in force"), "{error}");
    assert_eq!(bench.one::<i64>(NEW_ROWS).await, before);
}

#[tokio::test]
async fn two_rotations_do_not_run_at_once() {
    let mut bench = Bench::open().await;
    let (mut holder, rotating) = stuck_in_the_middle(&mut bench).await;
    let error = bench.sink.remask_all(&Next, None, &|_| {}, &CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("another etl-admin is erasing, rotating or pruning"), "{error}");
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert_eq!(rotating.await.unwrap().unwrap().rows, ROWS as u64);
}
