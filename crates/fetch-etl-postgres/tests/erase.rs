//! Erasing a person: what is stored goes, what comes later stays out, and others keep what is theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use fetch_etl_core::{ErrorClass, KeyId, MaskedValue, Remask, Rotation as _, RotationProgress, Sink};
use fetch_etl_postgres::{AuditEvent, AuditHead, Erasure, Maintenance};
use sqlx::PgConnection;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, Message, batch_with_vault, execute, login, mask_text, report, sink_on};

const EVENT: AuditEvent<'static> = AuditEvent {
    os_user: "ann",
    host: None,
    action: "erase",
    reason: "request 12",
    subject: "user p",
    level: None,
    entries: 0,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn erasure(rows: u64, entries: u64, shared: u64) -> Erasure {
    Erasure { rows, entries, shared }
}

impl Bench {
    async fn maintenance(&self) -> Maintenance {
        self.sink.begin_maintenance().await.unwrap()
    }

    async fn erase(&self, user: &str) -> Erasure {
        let mut maintenance = self.maintenance().await;
        maintenance.leave_tombstone(user, &EVENT).await.unwrap();
        let erasure = maintenance.erase(user).await.unwrap();
        maintenance.end().await.unwrap();
        erasure
    }

    async fn lift(&self, user: &str) -> bool {
        let mut maintenance = self.maintenance().await;
        let (there, _) =
            maintenance.lift_tombstone(user, &AuditEvent { action: "lift", ..EVENT }).await.unwrap();
        maintenance.end().await.unwrap();
        there
    }

    /// Rows of a person, and those of them that have masks.
    async fn rows_of(&mut self, user: &str) -> (i64, i64) {
        let count = |what: &str| format!("SELECT count({what}) FROM user_logins WHERE user_id = '{user}'");
        let rows = self.one(&count("*")).await;
        (rows, self.one(&count("coalesce(masked_ip, masked_device_id)")).await)
    }

    async fn vault(&mut self) -> i64 {
        self.one("SELECT count(*) FROM etl.pii_vault").await
    }

    /// Whether the vault keeps a value.
    async fn keeps(&mut self, field: &str, value: &str) -> bool {
        let mask = mask_text(field, value);
        let sql = format!(
            "SELECT EXISTS (SELECT FROM etl.pii_vault WHERE field = '{field}' AND decode('{mask}', 'hex') IN (mask, sealed_mask))"
        );
        self.one(&sql).await
    }

    /// Waits until a session of the sink's waits for a lock.
    async fn until_one_waits(&mut self) {
        let waits = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'fetch-etl-test' AND wait_event_type = 'Lock' AND datname = current_database()";
        let deadline = Instant::now() + PATIENCE;
        while self.one::<i64>(waits).await == 0 {
            assert!(Instant::now() < deadline, "nobody waits for a lock");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_persons_masks_go_and_others_keep_theirs() {
    let mut bench = Bench::open().await;
    let logins = vec![
        login("m-1", "p", "203.0.113.1", "d-1"),
        login("m-2", "p", "203.0.113.2", "d-1"),
        login("m-3", "q", "203.0.113.2", "d-2"),
        // The same text in the other field is another value.
        login("m-4", "q", "203.0.113.3", "203.0.113.1"),
        login("m-5", "P", "203.0.113.4", "d-3"),
    ];
    bench.write_with_vault(logins).await.unwrap();
    assert_eq!(bench.vault().await, 8);
    let mut maintenance = bench.maintenance().await;
    let planned = (false, erasure(2, 2, 1));
    assert_eq!(maintenance.survey("p").await.unwrap(), planned);
    assert_eq!(bench.rows_of("p").await, (2, 2), "looking changes nothing");
    maintenance.end().await.unwrap();
    assert_eq!(bench.erase("p").await, erasure(2, 2, 1));

    assert_eq!(bench.rows_of("p").await, (2, 0));
    assert_eq!(bench.rows_of("q").await, (2, 2));
    assert_eq!(bench.rows_of("P").await, (1, 1));
    assert_eq!(bench.vault().await, 6);
    for (field, value, kept) in [
        ("ip", "203.0.113.1", false),
        ("device_id", "d-1", false),
        ("ip", "203.0.113.2", true),
        ("device_id", "203.0.113.1", true),
        ("device_id", "d-2", true),
    ] {
        assert_eq!(bench.keeps(field, value).await, kept, "{field}");
    }
    let rest =
        "SELECT count(*) FROM user_logins WHERE user_id = 'p' AND device_type = 'android' AND locale = 'US'
        AND app_version IS NOT NULL AND mask_key_id IS NOT NULL AND message_id IS NOT NULL";
    assert_eq!(bench.one::<i64>(rest).await, 2, "only the masks go");

    let mut maintenance = bench.maintenance().await;
    assert_eq!(maintenance.survey("p").await.unwrap(), (true, Erasure::default()));
    let (new, _) = maintenance.leave_tombstone("p", &EVENT).await.unwrap();
    assert!(!new);
    assert_eq!(maintenance.erase("p").await.unwrap(), Erasure::default());
    // The other of the two who shared an address: now it is nobody's.
    maintenance.leave_tombstone("q", &EVENT).await.unwrap();
    assert_eq!(maintenance.erase("q").await.unwrap(), erasure(2, 4, 0));
    assert!(!bench.keeps("ip", "203.0.113.2").await);
    let audited: i64 = bench.one("SELECT count(*) FROM etl.audit WHERE action = 'erase'").await;
    assert_eq!((audited, bench.sink.verify_audit(None).await.unwrap().findings), (3, vec![]));
}

#[tokio::test]
async fn what_comes_later_of_theirs_is_stored_without_masks() {
    let mut bench = Bench::open().await;
    // Nothing is there: the tombstone is left all the same.
    assert_eq!(bench.erase("p").await, Erasure::default());
    let written = bench
        .write_with_vault(vec![
            login("m-1", "p", "203.0.113.1", "d-1"),
            login("m-2", "q", "203.0.113.2", "d-2"),
        ])
        .await
        .unwrap();
    assert_eq!((written.inserted, written.erased), (2, 1));
    assert_eq!((bench.rows_of("p").await, bench.rows_of("q").await), ((1, 0), (1, 1)));
    assert_eq!(bench.vault().await, 2);
    // The same value by two: only as the other's.
    bench
        .write_with_vault(vec![
            login("m-3", "p", "203.0.113.9", "d-9"),
            login("m-4", "q", "203.0.113.9", "d-9"),
        ])
        .await
        .unwrap();
    assert_eq!(
        (bench.rows_of("p").await, bench.rows_of("q").await, bench.vault().await),
        ((2, 0), (2, 2), 4)
    );

    assert!(bench.lift("p").await);
    assert!(!bench.lift("p").await, "there is none any more");
    bench.write_with_vault(vec![login("m-5", "p", "203.0.113.1", "d-1")]).await.unwrap();
    assert_eq!((bench.rows_of("p").await, bench.vault().await), ((3, 1), 6));
    let lifted: i64 = bench.one("SELECT count(*) FROM etl.audit WHERE action = 'lift'").await;
    assert_eq!((lifted, bench.sink.verify_audit(None).await.unwrap().findings), (2, vec![]));
}

/// A row whose masks are no digests, rows from before there were keys, rows of nobody.
#[tokio::test]
async fn rows_of_any_age_and_method_are_cleared() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(vec![login("m-1", "p", "203.0.113.1", "d-1")]).await.unwrap();
    let ip = mask_text("ip", "203.0.113.1");
    bench
        .execute(&format!(
            "INSERT INTO user_logins (user_id, masked_ip, masked_device_id) VALUES
            ('p', 'x…77', NULL), ('p', NULL, 'abc'), ('p', NULL, NULL), ('p', upper('{ip}'), 'z'), (NULL, '{ip}', 'a')"
        ))
        .await;
    assert_eq!(bench.erase("p").await, erasure(4, 1, 1), "a row of nobody's is somebody else's");
    assert_eq!(bench.rows_of("p").await, (5, 0));
    assert!(bench.keeps("ip", "203.0.113.1").await && !bench.keeps("device_id", "d-1").await);
}

/// The tombstone waits for writers that began before it, and is seen by all who begin after.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_began_before_the_tombstone_commits_before_it() {
    let mut bench = Bench::open().await;
    let mut writer = bench.database.connect().await;
    execute(&mut writer, "BEGIN; SELECT etl.enter(NULL, ARRAY['p'])").await;
    let sink = bench.sink.clone();
    let erasing = tokio::spawn(async move {
        let mut maintenance = sink.begin_maintenance().await.unwrap();
        maintenance.leave_tombstone("p", &EVENT).await.unwrap();
        maintenance.erase("p").await.unwrap()
    });
    bench.until_one_waits().await;
    let insert = "INSERT INTO user_logins (user_id, masked_ip) VALUES ('p', 'x'); COMMIT";
    execute(&mut writer, insert).await;
    assert_eq!(erasing.await.unwrap(), erasure(1, 0, 0));
    assert_eq!(bench.rows_of("p").await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_go_on_meanwhile_bring_nobody_back() {
    const ROUNDS: usize = 12;
    const WRITERS: usize = 3;
    let mut bench = Bench::open().await;
    let mut sinks = Vec::new();
    for _ in 0..WRITERS {
        sinks.push(Arc::new(sink_on(&bench.database).await));
    }
    for round in 0..ROUNDS {
        let person = format!("p-{round}");
        let (start, erased) = (Arc::new(Barrier::new(WRITERS + 1)), Arc::new(AtomicBool::new(false)));
        let mut writers = JoinSet::new();
        for (writer, sink) in sinks.iter().cloned().enumerate() {
            let (person, start, erased) = (person.clone(), start.clone(), erased.clone());
            writers.spawn(async move {
                let (mut batches, mut after) = (0, 0);
                start.wait().await;
                // Some before, some at the same time, and two after for sure.
                while after < 2 {
                    after += u32::from(erased.load(Relaxed));
                    let id = format!("{round}-{writer}-{batches}");
                    let messages = vec![
                        login(&id, &person, &format!("203.0.113.{writer}"), &format!("d-{round}-{batches}")),
                        login(&format!("{id}-q"), "q", "203.0.113.0", &format!("q-{id}")),
                    ];
                    assert_eq!(sink.write(&batch_with_vault(messages)).await.unwrap().inserted, 2);
                    batches += 1;
                }
                batches
            });
        }
        start.wait().await;
        // At another moment of the writers' work each time.
        for _ in 0..round {
            bench.one::<i32>("SELECT 1").await;
        }
        bench.erase(&person).await;
        erased.store(true, Relaxed);
        let batches: i64 = writers.join_all().await.into_iter().sum();
        assert_eq!(bench.rows_of(&person).await, (batches, 0), "round {round}");
        let theirs: i64 =
            bench.one("SELECT count(*) FROM etl.pii_vault AS v WHERE NOT EXISTS (SELECT FROM user_logins AS u
                WHERE encode(v.mask, 'hex') = CASE v.field WHEN 'ip' THEN u.masked_ip ELSE u.masked_device_id END)").await;
        assert_eq!(theirs, 0, "round {round}: the vault keeps what no row leads to");
    }
    let (rows, masked) = bench.rows_of("q").await;
    assert_eq!(rows, masked, "the other one is as before");
}

/// A person of so many rows, each with a device of its own.
fn many(rows: u32) -> Vec<Message> {
    (0..rows).map(|n| login(&format!("m-{n:05}"), "p", "203.0.113.1", &format!("d-{n}"))).collect()
}

/// Holds the person's last row, so that an erasure does not come to its end.
async fn hold_the_last(bench: &Bench) -> PgConnection {
    let mut holder = bench.database.connect().await;
    let lock = "BEGIN; SELECT FROM user_logins
        WHERE ctid = (SELECT ctid FROM user_logins ORDER BY ctid DESC LIMIT 1) FOR UPDATE";
    execute(&mut holder, lock).await;
    holder
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_dies_in_the_middle_goes_on() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(many(2_500)).await.unwrap();
    let mut holder = hold_the_last(&bench).await;
    let sink = bench.sink.clone();
    let dying = tokio::spawn(async move {
        let mut maintenance = sink.begin_maintenance().await.unwrap();
        maintenance.leave_tombstone("p", &EVENT).await.unwrap();
        maintenance.erase("p").await
    });
    bench.until_one_waits().await;
    let (rows, masked) = bench.rows_of("p").await;
    assert_eq!((rows, masked), (2_500, 500), "two batches are done");
    let busy = bench.sink.begin_maintenance().await.unwrap_err();
    assert_eq!(busy.class(), ErrorClass::Fatal);
    assert!(busy.to_string().starts_with("another etl-admin is erasing, rotating or pruning"), "{busy}");
    let kill = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity
        WHERE application_name = 'fetch-etl-test' AND wait_event_type = 'Lock' AND datname = current_database()";
    bench.execute(kill).await;
    dying.await.unwrap().unwrap_err();
    execute(&mut holder, "ROLLBACK").await;
    let orphans = "SELECT count(*) FROM etl.pii_vault WHERE field = 'device_id'";
    assert_eq!(bench.one::<i64>(orphans).await, 500, "each that is left has a row that leads to it");

    assert_eq!(bench.erase("p").await, erasure(500, 500, 0));
    assert_eq!((bench.rows_of("p").await, bench.vault().await), ((2_500, 0), 0));
}

/// Rows that others update meanwhile, as reports do, are found where they are now.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_move_meanwhile_are_found_again() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(many(1_200)).await.unwrap();
    let mut holder = bench.database.connect().await;
    execute(&mut holder, "BEGIN; UPDATE user_logins SET locale = 'DE'").await;
    let sink = bench.sink.clone();
    let erasing = tokio::spawn(async move {
        let mut maintenance = sink.begin_maintenance().await.unwrap();
        maintenance.leave_tombstone("p", &EVENT).await.unwrap();
        maintenance.erase("p").await.unwrap()
    });
    bench.until_one_waits().await;
    execute(&mut holder, "COMMIT").await;
    assert_eq!(erasing.await.unwrap().rows, 1_200);
    assert_eq!((bench.rows_of("p").await, bench.vault().await), ((1_200, 0), 0));
}

/// In two partitions, two rows of a person are at the same place.
#[tokio::test]
async fn a_partitioned_table_is_cleared_row_by_row() {
    let mut bench = Bench::open().await;
    bench
        .execute(
            "ALTER TABLE user_logins RENAME TO old;
            CREATE TABLE user_logins (LIKE old INCLUDING DEFAULTS) PARTITION BY HASH (message_id);
            CREATE TABLE l0 PARTITION OF user_logins FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE l1 PARTITION OF user_logins FOR VALUES WITH (MODULUS 2, REMAINDER 1); DROP TABLE old",
        )
        .await;
    bench.write_with_vault(many(40)).await.unwrap();
    bench.write_with_vault(vec![login("q-1", "q", "203.0.113.1", "d-1")]).await.unwrap();
    let both: i64 = bench.one("SELECT count(DISTINCT tableoid) FROM user_logins WHERE user_id = 'p'").await;
    assert_eq!(both, 2);
    assert_eq!(bench.erase("p").await, erasure(40, 39, 2));
    assert_eq!(
        (bench.rows_of("p").await, bench.rows_of("q").await, bench.vault().await),
        ((40, 0), (1, 1), 2)
    );
}

#[tokio::test]
async fn rows_that_a_trigger_protects_are_said_to_be_there() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(many(1)).await.unwrap();
    bench
        .execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER no BEFORE UPDATE ON user_logins FOR EACH ROW EXECUTE FUNCTION no()",
        )
        .await;
    let mut maintenance = bench.maintenance().await;
    let error = maintenance.erase("p").await.unwrap_err();
    assert!(error.to_string().contains("cannot be changed"), "{error}");
}

/// Brings masks of the key 7, all of whose bits it turns round, up to the key 8.
struct TurnedRound;

impl Remask for TurnedRound {
    fn target(&self) -> KeyId {
        KeyId::new(8)
    }
    fn origins(&self) -> Vec<KeyId> {
        vec![KeyId::new(7)]
    }
    fn concerns(&self, _: &str) -> bool {
        true
    }
    fn remask(&self, _: &str, mask: &str, made_with: KeyId) -> Option<MaskedValue> {
        assert_eq!(made_with, KeyId::new(7));
        let head: AuditHead = format!("0:{mask}").parse().ok()?;
        Some(MaskedValue::from_digest(head.hash.map(|byte| !byte)))
    }
}

/// What a mask of the key 7 is with the key 8.
fn turned_round(mask: &str) -> String {
    TurnedRound.remask("ip", mask, KeyId::new(7)).unwrap().to_text()
}

impl Bench {
    /// Rotates to the end, or only through the vault.
    async fn rotate(&self, to_its_end: bool) -> RotationProgress {
        let stop = CancellationToken::new();
        let progress = |_| {
            if !to_its_end {
                stop.cancel();
            }
        };
        self.sink.remask_all(&TurnedRound, None, &progress, &stop).await.unwrap()
    }

    /// An erasure that leaves a tombstone and nothing else, because a rotation is unfinished.
    async fn erase_in_vain(&self, user: &str) {
        let mut maintenance = self.maintenance().await;
        maintenance.leave_tombstone(user, &EVENT).await.unwrap();
        assert!(maintenance.must_wait_for_rotation().await.unwrap());
        let error = maintenance.erase(user).await.unwrap_err();
        assert!(error.to_string().starts_with("a rotation of keys is unfinished"), "{error}");
        maintenance.end().await.unwrap();
    }
}

/// The keys of what was written are called 7.
const ALL_ARE_7: &str = "UPDATE user_logins SET mask_key_id = 7; UPDATE etl.pii_vault SET mask_key_id = 7";

#[tokio::test]
async fn an_erasure_waits_for_the_end_of_a_rotation_and_not_for_what_no_rotation_brings_up() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(vec![login("m-1", "p", "203.0.113.1", "d-1")]).await.unwrap();
    bench.execute(ALL_ARE_7).await;
    // Its key is lost, and its masks lead nowhere.
    bench
        .execute(&format!(
            "INSERT INTO user_logins (user_id, masked_ip, mask_key_id) VALUES ('p', '{}', 1)",
            mask_text("ip", "lost")
        ))
        .await;
    assert!(!bench.rotate(false).await.finished);
    assert_eq!(bench.sink.unfinished_rotation().await.unwrap(), Some(KeyId::new(8)));
    bench.erase_in_vain("p").await;
    assert_eq!((bench.rows_of("p").await, bench.vault().await), ((2, 2), 2), "nothing is forgotten");
    assert_eq!(bench.write(many(1)).await.unwrap().erased, 1, "but the tombstone is there");

    assert!(bench.rotate(true).await.finished);
    assert_eq!(bench.sink.unfinished_rotation().await.unwrap(), None);
    let left: i64 = bench.one("SELECT count(*) FROM user_logins WHERE mask_key_id = 1").await;
    assert_eq!(left, 1);
    assert_eq!(bench.erase("p").await, erasure(2, 2, 0));
    assert_eq!(bench.vault().await, 0);
}

/// The other's row has the older mask, and the entry does not know it: a worker stored the value anew under the newer one.
#[tokio::test]
async fn an_unfinished_rotation_does_not_hide_that_others_have_the_same_value() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(vec![login("m-1", "q", "203.0.113.1", "d-1")]).await.unwrap();
    bench.execute(ALL_ARE_7).await;
    let new = turned_round(&mask_text("ip", "203.0.113.1"));
    bench
        .execute(&format!(
            "INSERT INTO user_logins (user_id, masked_ip, mask_key_id) VALUES ('p', '{new}', 8);
            INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext)
            SELECT field, decode('{new}', 'hex'), 8, dek_id, ciphertext FROM etl.pii_vault WHERE field = 'ip'"
        ))
        .await;
    bench.rotate(false).await;
    let unsealed = "SELECT count(*) FROM etl.pii_vault WHERE field = 'ip' AND sealed_mask IS NULL";
    assert_eq!(bench.one::<i64>(unsealed).await, 1);
    bench.erase_in_vain("p").await;
    assert_eq!((bench.rows_of("p").await, bench.vault().await), ((1, 1), 2));

    bench.rotate(true).await;
    assert_eq!(bench.erase("p").await, erasure(1, 0, 1));
    assert_eq!(bench.one::<i64>(unsealed).await, 1, "the other's row leads to it");
    assert_eq!(bench.erase("q").await, erasure(1, 2, 0));
}

/// Without a vault there is nothing to be lost.
#[tokio::test]
async fn without_a_vault_an_erasure_does_not_wait_for_a_rotation() {
    let mut bench = Bench::open().await;
    bench.write(vec![login("m-1", "p", "203.0.113.1", "d-1")]).await.unwrap();
    bench.execute("INSERT INTO etl.rotation (target_key_id) VALUES (8)").await;
    assert_eq!(bench.erase("p").await, erasure(1, 0, 0));
}

#[tokio::test]
async fn a_tombstone_and_its_audit_row_come_together_or_not_at_all() {
    let mut bench = Bench::open().await;
    let mut maintenance = bench.maintenance().await;
    let error = maintenance.leave_tombstone("p", &AuditEvent { reason: " ", ..EVENT }).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.erased").await, 0);
    maintenance.leave_tombstone("p", &EVENT).await.unwrap();
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.audit").await, 1);
    drop(maintenance);
    assert_eq!(
        bench.write(many(1)).await.unwrap(),
        fetch_etl_core::WriteReport { erased: 1, ..report(1, 0, 0) }
    );
}
