//! What does not pass by itself stops the worker: it says why, quarantines nothing, and gives back what it holds.

use fetch_etl_harness::{Ended, Masking, Running, rejects};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::account::{Account, events, wait_for_figures};
use super::support::{Stage, logins};

const BEFORE: u64 = 100;
const AFTER: u64 = 300;

pub(crate) async fn execute(connection: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.expect("the statement works");
}

/// A worker whose messages are all stored and deleted, and which waits for more. The visibility timeout is long: what is not given
/// back would stay invisible.
async fn idle_worker(stage: &Stage, database_url: &str, arguments: &[&str]) -> Running {
    let worker = stage.worker_on(database_url, arguments);
    stage.queue.send(logins(BEFORE as usize)).await;
    wait_for_figures(&stage.queue, worker, |figures| figures["deleted"] == BEFORE).await
}

/// Sends more, waits for the end, and checks all but what is in the database.
async fn end_of(stage: &Stage, worker: Running, code: &str, words: &[&str]) -> Ended {
    stage.queue.send(logins(AFTER as usize)).await;
    let ended = worker.wait();
    ended.assert_code(1);
    let account = Account::of(&ended);
    assert_eq!((account.inserted, account.duplicates, account.quarantined), (BEFORE, 0, 0));
    assert_eq!((account.in_flight, account.leases_lost), (0, 0));
    assert_eq!(account.received, BEFORE + account.returned);
    assert_eq!(stage.queue.depth().await, (AFTER, 0), "all can be received at once");
    let [failed] = &events(&ended, "failed")[..] else { panic!("{}", ended.stderr) };
    assert_tells(failed, code, words);
    // No value of a message: neither a user nor an address nor a device.
    for value in ["u-1", "10.0.0.", "000000001"] {
        assert!(!ended.stderr.contains(value) && !ended.stdout.contains(value), "{}", ended.stderr);
    }
    ended
}

#[track_caller]
pub(crate) fn assert_tells(failed: &serde_json::Value, code: &str, words: &[&str]) {
    let message = failed["message"].as_str().expect("a text");
    let told = format!("{message} ({})", failed["hint"].as_str().unwrap_or_default());
    assert!(!message.contains('\n'), "one line: {message}");
    for word in words.iter().chain([&code]) {
        assert!(told.contains(word), "{word:?} is missing in: {told}");
    }
}

async fn assert_only_the_first(stage: &Stage, table: &str) {
    let mut connection = stage.database.connect().await;
    let count = format!("SELECT count(*) FROM {table}");
    let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await.expect("rows");
    assert_eq!(rows.unsigned_abs(), BEFORE);
    assert!(rejects(&mut connection).await.is_empty(), "nothing is quarantined");
}

#[tokio::test]
async fn a_table_that_is_dropped_under_a_worker() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    let worker = idle_worker(&stage, stage.database.url(), &[]).await;
    execute(&mut stage.database.connect().await, "ALTER TABLE user_logins RENAME TO elsewhere").await;
    end_of(&stage, worker, "42P01", &["cannot write", "missing", "`etl-worker migrate`"]).await;
    assert_only_the_first(&stage, "elsewhere").await;
}

#[tokio::test]
async fn a_column_that_is_dropped_under_a_worker() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    let worker = idle_worker(&stage, stage.database.url(), &[]).await;
    execute(&mut stage.database.connect().await, "ALTER TABLE user_logins DROP COLUMN masked_ip").await;
    end_of(&stage, worker, "42703", &["cannot write", "column", "`etl-worker migrate`"]).await;
    assert_only_the_first(&stage, "user_logins").await;
}

/// A role that may log in and nothing else; dropped with what it has.
struct Role {
    name: String,
    url: String,
}

impl Role {
    async fn create(stage: &Stage) -> Self {
        // Roles belong to the whole server: the database's name keeps those of different tests apart.
        let name = format!("{}_role", stage.database.name());
        execute(&mut stage.database.connect().await, format!("CREATE ROLE \"{name}\" LOGIN")).await;
        let (scheme, rest) = stage.database.url().split_once("://").expect("a URL");
        let (_, address) = rest.split_once('@').unwrap_or(("", rest));
        Self { url: format!("{scheme}://{name}@{address}"), name }
    }

    async fn may_write(&self, stage: &Stage) {
        let name = &self.name;
        let grants = format!(
            "GRANT USAGE ON SCHEMA etl TO \"{name}\"; GRANT ALL ON ALL TABLES IN SCHEMA etl, public TO \"{name}\";
             GRANT ALL ON ALL SEQUENCES IN SCHEMA etl, public TO \"{name}\";
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA etl TO \"{name}\""
        );
        execute(&mut stage.database.connect().await, grants).await;
    }

    async fn drop(self, stage: &Stage) {
        let name = self.name;
        let drop = format!("DROP OWNED BY \"{name}\"; DROP ROLE \"{name}\"");
        execute(&mut stage.database.connect().await, drop).await;
    }
}

async fn migrate(stage: &Stage) {
    stage.worker(&["--until-empty"]).wait().assert_code(0);
}

#[tokio::test]
async fn the_right_to_write_that_is_revoked_under_a_worker() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    migrate(&stage).await;
    let role = Role::create(&stage).await;
    role.may_write(&stage).await;
    let worker = idle_worker(&stage, &role.url, &["--set", "sink.migrate=false"]).await;
    let revoke = format!("REVOKE INSERT ON user_logins FROM \"{}\"", role.name);
    execute(&mut stage.database.connect().await, revoke).await;
    end_of(&stage, worker, "42501", &["cannot write", "lacks a right", "sink.migrate = false"]).await;
    assert_only_the_first(&stage, "user_logins").await;
    role.drop(&stage).await;
}

#[tokio::test]
async fn a_worker_that_starts_without_the_right_to_write() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    migrate(&stage).await;
    let role = Role::create(&stage).await;
    role.may_write(&stage).await;
    let revoke = format!("REVOKE INSERT ON user_logins FROM \"{}\"", role.name);
    execute(&mut stage.database.connect().await, revoke).await;
    stage.queue.send(logins(AFTER as usize)).await;
    let ended = stage.worker_on(&role.url, &["--set", "sink.migrate=false"]).wait();
    ended.assert_code(1);
    let [failed] = &events(&ended, "failed")[..] else { panic!("{}", ended.stderr) };
    assert_tells(failed, "42501", &["lacks a right", "sink.migrate = false"]);
    assert_eq!(stage.queue.depth().await, (AFTER, 0));
    assert!(rejects(&mut stage.database.connect().await).await.is_empty());
    role.drop(&stage).await;
}

#[tokio::test]
async fn a_database_that_is_dropped_under_a_worker() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    let name = format!("{}_dropped", stage.database.name());
    let mut server = stage.database.connect().await;
    execute(&mut server, format!("CREATE DATABASE \"{name}\" TEMPLATE template0")).await;
    let url = stage.database.url().replace(stage.database.name(), &name);
    let worker = idle_worker(&stage, &url, &[]).await;
    let mut doomed = PgConnection::connect(&url).await.expect("it is still there");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM user_logins").fetch_one(&mut doomed).await.expect("rows");
    assert_eq!(rows.unsigned_abs(), BEFORE);
    assert!(rejects(&mut doomed).await.is_empty());
    execute(&mut server, format!("DROP DATABASE \"{name}\" WITH (FORCE)")).await;
    end_of(&stage, worker, "3D000", &["cannot write", "there is no such database", "createdb"]).await;
}
