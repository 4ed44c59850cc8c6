//! What no row leads to any more leaves the vault.

use crate::audit::head_of;
use crate::support::{Bench, finish, login_of};

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_leaves_in_the_vault_is_pruned_and_the_audit_knows() {
    let mut bench = Bench::open().await;
    let logins = vec![login_of("p", "m-1", "203.0.113.1", "d-1"), login_of("q", "m-2", "203.0.113.1", "d-2")];
    bench.work_with_vault(logins).await;
    bench.execute("UPDATE etl.vault_data_keys SET created_at = created_at - interval '2 days'").await;
    bench.execute("DELETE FROM user_logins WHERE user_id = 'p'").await;
    let kept = "SELECT count(*) FROM etl.pii_vault";

    let prune = |args: &str| format!("vault prune {args}");
    bench.run(&prune("--yes")).expect_usage("--reason");
    let planned = finish(&mut bench.with_reason(&prune("--dry-run"), "retention")).expect(0);
    assert_eq!(planned, "would delete 1 value from the vault that no row leads to any more\n");
    assert_eq!(
        (bench.one::<i64>(kept).await, bench.one::<i64>("SELECT count(*) FROM etl.audit").await),
        (3, 0)
    );

    let done = finish(&mut bench.with_reason(&prune("--yes"), "retention")).expect(0);
    assert!(
        done.starts_with("deleted 1 value from the vault that no row leads to any more, and 0 data keys"),
        "{done}"
    );
    assert!(head_of(&done).starts_with("2:"), "{done}");
    assert_eq!(bench.one::<i64>(kept).await, 2);
    let audited: String =
        bench.one("SELECT string_agg(concat_ws(' ', action, subject, entries, reason), ', ' ORDER BY seq) FROM etl.audit").await;
    assert_eq!(audited, "prune vault 0 retention, prune_finished vault 1 retention");
    // What is left is found as before.
    let reveal = "reveal --user q --private-key recipient.key --level full --reveal-personal-data";
    let shown = finish(&mut bench.with_reason(reveal, "is it there")).expect(0);
    assert!(shown.contains("203.0.113.1") && shown.contains("d-2"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_is_alone_and_waits_for_a_rotation() {
    let mut bench = Bench::open().await;
    bench.work_with_vault(vec![login_of("p", "m-1", "203.0.113.1", "d-1")]).await;
    bench.execute("DELETE FROM user_logins; INSERT INTO etl.rotation (target_key_id) VALUES (2)").await;
    for args in ["vault prune --yes", "vault prune --dry-run"] {
        finish(&mut bench.with_reason(args, "retention")).expect_error(1, "a rotation of keys is unfinished");
    }
    bench.execute("DELETE FROM etl.rotation").await;
    let mut other = bench.database.connect().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(etl.maintenance_lock())").execute(&mut other).await.unwrap();
    finish(&mut bench.with_reason("vault prune --yes", "retention"))
        .expect_error(1, "another etl-admin is erasing, rotating or pruning");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, 2);
}
