//! The policy in force and the writes under it: who waits for whom, and what is stored when it changes.

use fetch_etl_core::{ErrorClass, PolicyStore, Sink, SinkCode, SinkError};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::proxy::{CommitFault, FaultPlan, PgProxy};
use sqlx::Connection;

use crate::support::{
    Bench, FakeVault, bad, batch, batch_with_entries, blocked_backend, good, policy, report, sink_on,
};

/// All that writes store.
const STORED: &str = "SELECT (SELECT count(*) FROM user_logins) + (SELECT count(*) FROM etl.ledger)
    + (SELECT count(*) FROM etl.quarantine) + (SELECT count(*) FROM etl.pii_vault)";

fn assert_policy_changed(error: &SinkError) {
    assert_eq!((error.class(), error.code()), (ErrorClass::Fatal, Some(SinkCode::POLICY_CHANGED)));
}

/// Puts a first policy in force and holds the sink to it.
async fn held(bench: &Bench) -> i64 {
    let version = bench.sink.put_in_force(&policy("first"), None).await.unwrap().unwrap().version;
    bench.sink.hold_to(version);
    version
}

#[tokio::test]
async fn under_an_old_policy_nothing_is_stored_and_the_error_says_why() {
    let mut bench = Bench::open().await;
    let version = held(&bench).await;
    let vault = FakeVault::new(1);
    bench.sink.write(&batch_with_entries(vec![good("m-1")], &vault)).await.unwrap();
    let stored = bench.one::<i64>(STORED).await;
    // Known to the quarantine: such a batch goes another way.
    bench
        .execute(
            "INSERT INTO etl.quarantine (key, reason, body_bytes, receive_count, sent_at)
        VALUES ('m-4', 'x', 1, 1, now())",
        )
        .await;
    sink_on(&bench.database).await.put_in_force(&policy("second"), Some(version)).await.unwrap().unwrap();

    for batch in [
        batch(vec![good("m-2"), bad("r-1")]),
        batch(vec![bad("r-1")]),
        batch_with_entries(vec![good("m-3")], &vault),
        batch_with_entries(vec![good("m-4")], &vault),
    ] {
        assert_policy_changed(&bench.sink.write(&batch).await.unwrap_err());
        assert_eq!(bench.one::<i64>(STORED).await, stored + 1);
    }

    bench.sink.hold_to(version + 1);
    let written = bench.sink.write(&batch_with_entries(vec![good("m-2"), good("m-4")], &vault)).await;
    assert_eq!(written.unwrap(), report(2, 0, 0), "the ledger does not know what was not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_write_that_is_about_to_commit() {
    let mut bench = Bench::open().await;
    let version = held(&bench).await;
    let proxy = PgProxy::in_front_of(bench.database.url()).await.unwrap();
    let url = proxy.url_for(bench.database.url()).unwrap();
    let slow = PostgresSink::connect(PostgresSinkConfig::new(url)).await.unwrap();
    slow.hold_to(version);

    proxy.inject(FaultPlan::next_commit(CommitFault::HoldBefore));
    let vault = FakeVault::new(1);
    let write = tokio::spawn(async move { slow.write(&batch_with_entries(vec![good("m-1")], &vault)).await });
    proxy.until(|stats| stats.injected.held_before == 1).await;
    let changing = bench.sink.clone();
    let change = tokio::spawn(async move { changing.put_in_force(&policy("second"), Some(version)).await });
    blocked_backend(&mut bench).await;
    assert_eq!(bench.one::<i64>("SELECT version FROM etl.policy").await, version);
    assert_eq!(bench.one::<i64>(STORED).await, 0, "neither is through");

    proxy.release_held();
    assert_eq!(write.await.unwrap().unwrap(), report(1, 0, 0));
    assert_eq!(change.await.unwrap().unwrap().unwrap().version, version + 1);
    assert_policy_changed(&bench.sink.write(&batch(vec![good("m-2")])).await.unwrap_err());
}

#[tokio::test]
async fn a_write_that_waits_for_a_change_is_refused() {
    let mut bench = Bench::open().await;
    let version = held(&bench).await;
    let mut changer = bench.database.connect().await;
    let mut change = changer.begin().await.unwrap();
    sqlx::query("SELECT etl.put_policy_in_force('second', 1, '', '', 1, $1)")
        .bind(version)
        .execute(&mut *change)
        .await
        .unwrap();
    let sink = bench.sink.clone();
    let write = tokio::spawn(async move { sink.write(&batch(vec![good("m-1"), bad("r-1")])).await });
    blocked_backend(&mut bench).await;
    change.commit().await.unwrap();
    assert_policy_changed(&write.await.unwrap().unwrap_err());
    assert_eq!(bench.one::<i64>(STORED).await, 0);
}

#[tokio::test]
async fn the_history_knows_every_policy_and_who_put_it_in_force() {
    let mut bench = Bench::open().await;
    let version = held(&bench).await;
    bench.sink.put_in_force(&policy("second"), Some(version)).await.unwrap().unwrap();
    bench.sink.put_in_force(&policy("third"), Some(version)).await.unwrap().ok_or("refused").unwrap_err();
    let history = "SELECT string_agg(format('%s %s %s', version, methods, set_by = session_user), ', ' ORDER BY version)
        FROM etl.policy_history";
    assert_eq!(bench.one::<String>(history).await, "1 first t, 2 second t");
}

#[tokio::test]
async fn rows_from_before_there_were_key_ids_are_told() {
    let mut bench = Bench::open().await;
    bench.execute("INSERT INTO user_logins (user_id, masked_ip) VALUES ('u', 'mask'), ('v', 'mask')").await;
    bench.execute("INSERT INTO user_logins (user_id, mask_key_id) VALUES ('nothing masked', 7)").await;
    assert_eq!(bench.sink.key_ids_in_use().await.unwrap(), [None]);
}
