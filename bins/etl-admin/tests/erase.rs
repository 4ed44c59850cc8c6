//! Erasing a person, whatever comes after or in between.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::audit::head_of;
use crate::support::{Bench, Message, PATIENCE, VALUES, admin, finish, login_of, refused, wait};

impl Bench {
    fn erase(&self, args: &str) -> Command {
        self.with_reason(&format!("erase --user u-secret {args}"), "request 12")
    }

    /// Rows of the person, those with masks, and what the vault keeps of whomever.
    async fn state(&mut self) -> String {
        self.one(
            "SELECT concat_ws(' ', count(*), count(coalesce(masked_ip, masked_device_id)), (SELECT count(*) FROM etl.pii_vault))
            FROM user_logins WHERE user_id = 'u-secret'",
        )
        .await
    }
}

fn of_person(key: &str, device: &str) -> Message {
    login_of("u-secret", key, VALUES[0], device)
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_redelivery_nor_a_replay_nor_a_rotation_brings_a_person_back() {
    let mut bench = Bench::open().await;
    // One message of theirs lies sealed in the quarantine.
    bench.refuse(vec![refused(Some("m-0"))]).await;
    let logins = vec![
        of_person("m-1", VALUES[1]),
        of_person("m-2", "d-2"),
        login_of("other", "m-3", VALUES[0], "d-3"),
    ];
    bench.work_with_vault(logins).await;
    assert_eq!(bench.state().await, "2 2 4");

    let planned = finish(&mut bench.erase("--dry-run")).expect(0);
    assert_eq!(
        planned,
        "u-secret: would leave a tombstone\nwould clear the masks of 2 rows\nwould delete 2 values from the vault\n\
         1 value stays in the vault: others have the same\n\
         not searched: 1 sealed message in the quarantine; whose they are shows only when they are opened. Replayed, theirs are \
         stored without masks\n"
    );
    assert_eq!(bench.state().await, "2 2 4");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.audit").await, 0);
    let done = finish(&mut bench.erase("--yes")).expect(0);
    assert!(done.starts_with("u-secret: left a tombstone\ncleared the masks of 2 rows\ndeleted 2 values from the vault\n1 value stays"), "{done}");
    assert!(done.contains("not searched: 1 sealed message") && head_of(&done).starts_with("2:"), "{done}");
    assert_eq!(bench.state().await, "2 0 2");

    // Late, again, and out of the quarantine.
    let again = bench.work_with_vault(vec![of_person("m-1", VALUES[1]), of_person("m-4", VALUES[1])]).await;
    assert_eq!((again.inserted, again.duplicates), (1, 1));
    assert_eq!(bench.state().await, "3 0 2");
    assert_eq!(bench.replay("--all").expect(0), "replayed 1 message: 1 stored now, 0 stored before\n");
    assert_eq!(bench.state().await, "4 0 2");

    bench.use_two_keys();
    bench.run("rotate").expect(0);
    assert_eq!(bench.state().await, "4 0 2");
    let reveal = "reveal --user u-secret --private-key recipient.key --level full --reveal-personal-data";
    let nothing = finish(&mut bench.with_reason(reveal, "is it gone")).expect(1);
    assert!(nothing.starts_with("nothing is kept of it"), "{nothing}");
    let shared =
        finish(&mut bench.with_reason(&reveal.replace("u-secret", "other"), "is it there")).expect(0);
    assert!(shared.contains(VALUES[0]), "{shared}");
    bench.run("audit verify").expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_rotation_is_to_be_finished_first() {
    let mut bench = Bench::open().await;
    bench.work_with_vault(vec![of_person("m-1", "d-1")]).await;
    bench.execute("INSERT INTO etl.rotation (target_key_id) VALUES (2)").await;
    let planned = finish(&mut bench.erase("--dry-run")).expect(0);
    assert!(planned.contains("not before the rotation of keys is finished"), "{planned}");
    let said = finish(&mut bench.erase("--yes")).expect_error(1, "a rotation of keys is unfinished");
    assert!(said.contains("the tombstone is left"), "{said}");
    assert_eq!(bench.state().await, "1 1 2");
    // As it says.
    bench.use_two_keys();
    bench.run("rotate").expect(0);
    let done = finish(&mut bench.erase("--yes")).expect(0);
    assert!(done.contains("deleted 2 values from the vault\n"), "{done}");
    assert_eq!(bench.state().await, "1 0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_comes_back_is_let_in_again() {
    let mut bench = Bench::open().await;
    let done = finish(&mut bench.erase("--yes")).expect(0);
    assert!(done.starts_with("u-secret: left a tombstone\ncleared the masks of 0 rows\n"), "{done}");
    let again = finish(&mut bench.erase("--yes")).expect(0);
    assert!(again.starts_with("u-secret: there was a tombstone already\n"), "{again}");
    let planned = finish(&mut bench.erase("--lift --dry-run")).expect(0);
    assert_eq!(planned, "u-secret: would take the tombstone away\n");
    bench.work_with_vault(vec![of_person("m-1", "d-1")]).await;
    assert_eq!(bench.state().await, "1 0 0");
    let lifted = finish(&mut bench.erase("--lift --yes")).expect(0);
    assert!(lifted.starts_with("u-secret: the tombstone is gone; "), "{lifted}");
    let lifted = finish(&mut bench.erase("--lift --yes")).expect(0);
    assert!(lifted.starts_with("u-secret: there was no tombstone\n"), "{lifted}");
    bench.work_with_vault(vec![of_person("m-2", "d-1")]).await;
    assert_eq!(bench.state().await, "2 1 2");
    let actions: String = bench
        .one("SELECT string_agg(action, ' ' ORDER BY seq) FROM etl.audit WHERE subject = 'user u-secret'")
        .await;
    assert_eq!(actions, "erase erase_finished erase erase_finished lift lift");
}

/// Killed between two batches: the first is gone, the second waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_erasure_goes_on_when_it_is_run_again() {
    const ROWS: i64 = 1_300;
    let mut bench = Bench::open().await;
    bench.work_with_vault((0..ROWS).map(|n| of_person(&format!("m-{n}"), &format!("d-{n}"))).collect()).await;
    assert_eq!(bench.state().await, format!("{ROWS} {ROWS} {}", ROWS + 1));
    let mut holder = bench.database.connect().await;
    let lock = "BEGIN; SELECT FROM user_logins WHERE ctid = (SELECT ctid FROM user_logins ORDER BY ctid DESC LIMIT 1) FOR UPDATE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let mut running = bench.erase("--yes").spawn().unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'etl-admin' AND wait_event_type = 'Lock' AND datname = current_database()";
    let deadline = Instant::now() + PATIENCE;
    while bench.one::<i64>(waits).await == 0 {
        assert!(Instant::now() < deadline, "it never came to the last batch: {:?}", wait(running));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.kill().unwrap();
    running.wait().unwrap();
    // What it had asked the server for must not be done after its death.
    bench
        .execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'etl-admin' AND datname = current_database()")
        .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();
    assert_eq!(bench.state().await, format!("{ROWS} 300 300"), "the address is on the first rows, too");
    bench.work_with_vault(vec![of_person("late", "d-late")]).await;
    assert_eq!(bench.state().await, format!("{} 300 300", ROWS + 1), "the tombstone is there already");
    let done = finish(&mut bench.erase("--yes")).expect(0);
    assert!(
        done.contains("of this run:\ncleared the masks of 300 rows\ndeleted 300 values from the vault\n"),
        "{done}"
    );
    assert_eq!(bench.state().await, format!("{} 0 0", ROWS + 1));
    bench.run("audit verify").expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_over_all_masks_is_alone() {
    let mut bench = Bench::open().await;
    bench.work_with_vault(vec![of_person("m-1", "d-1")]).await;
    let mut other = bench.database.connect().await;
    sqlx::raw_sql("SELECT pg_advisory_lock(etl.maintenance_lock())").execute(&mut other).await.unwrap();
    for args in ["--yes", "--lift --yes", "--dry-run"] {
        finish(&mut bench.erase(args)).expect_error(1, "another etl-admin is erasing, rotating or pruning");
    }
    bench.use_two_keys();
    bench.run("rotate").expect_error(1, "another etl-admin is erasing, rotating or pruning");
    assert_eq!(bench.state().await, "1 1 2");
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.audit").await, 0);
    sqlx::raw_sql("SELECT pg_advisory_unlock_all()").execute(&mut other).await.unwrap();
    finish(&mut bench.erase("--yes")).expect(0);
    finish(&mut bench.with_reason("erase --yes --user=", "request 12")).expect_error(2, "empty id");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sqlite_file_is_refused_with_what_helps() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("logins.sqlite").display());
    for args in [
        "erase --user u-secret --yes --reason request",
        "reveal --row m-1 --level exists --reason request",
        "audit list",
        "audit verify",
    ] {
        let mut command = admin(&[]);
        let ended = finish(command.args(args.split(' ')).env("ETL_SINK__DATABASE_URL", &url));
        ended.expect_error(2, "this works on Postgres only");
    }
    assert!(std::fs::read_dir(directory.path()).unwrap().next().is_none(), "no file was made");
}
