//! Roles and passwords, on a server of our own: the one for tests may trust everybody, and roles belong to a whole server.

use fetch_etl_harness::{LocalQueue, Masking};
use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::account::{Account, events, wait_for_figures};
use super::fatal::{assert_tells, execute};
use super::support::{Stage, logins};

/// Passwords for the worker's role; the superuser is trusted.
const RULES: &str = "host all worker 127.0.0.1/32 scram-sha-256\nhost all postgres,etl 127.0.0.1/32 trust\n";
const SECRET: &str = "hunter2-first";

/// `None` where there are no programs of a Postgres server, and the tests run on somebody else's.
async fn server() -> Option<(Cluster, PgConnection, String)> {
    let binaries = Binaries::find().or_else(|| {
        eprintln!("not shown: there are no programs of a Postgres server on this machine");
        None
    })?;
    let cluster = Cluster::start(&binaries, Durability::Forgetful).expect("a server of our own");
    cluster.let_in(RULES).expect("pg_hba.conf is written");
    let mut owner = PgConnection::connect(&cluster.url()).await.expect("the superuser is let in");
    execute(&mut owner, format!("CREATE ROLE worker LOGIN PASSWORD '{SECRET}'")).await;
    execute(&mut owner, "CREATE DATABASE etl OWNER worker").await;
    cluster.reload().expect("the rules count");
    let url = format!("postgres://worker:{SECRET}@127.0.0.1:{}/etl", cluster.port());
    Some((cluster, owner, url))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_stops_a_worker_at_start_and_one_that_is_changed_under_it() {
    let Some((cluster, mut owner, url)) = server().await else { return };
    let stage = Stage::with_queue(Masking::Sha512, LocalQueue::start(600, &[])).await;
    let told = ["the login was rejected", "check the user and password"];

    let wrong = url.replace(SECRET, "hunter2-wrong");
    let ended = stage.worker_on(&wrong, &[]).wait();
    ended.assert_code(1);
    let [failed] = &events(&ended, "failed")[..] else { panic!("{}", ended.stderr) };
    assert_tells(failed, "28P01", &told);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);

    let worker = stage.worker_on(&url, &[]);
    stage.queue.send(logins(100)).await;
    let worker = wait_for_figures(&stage.queue, worker, |figures| figures["deleted"] == 100).await;
    // A session that is open stays so: the new password counts from the next connection on.
    let end_sessions = "ALTER ROLE worker PASSWORD 'hunter2-second';
                        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'worker'";
    execute(&mut owner, end_sessions).await;
    stage.queue.send(logins(300)).await;
    let ended = worker.wait();
    ended.assert_code(1);
    let account = Account::of(&ended);
    assert_eq!((account.inserted, account.quarantined, account.in_flight), (100, 0, 0));
    assert_eq!(account.received, 100 + account.returned);
    assert_eq!(stage.queue.depth().await, (300, 0), "all can be received at once");
    let [failed] = &events(&ended, "failed")[..] else { panic!("{}", ended.stderr) };
    assert_tells(failed, "28P01", &told);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);

    // And once it is right again, everything is stored once.
    let right = url.replace(SECRET, "hunter2-second");
    stage.worker_on(&right, &["--until-empty"]).wait().assert_code(0);
    let database = format!("postgres://postgres@127.0.0.1:{}/etl", cluster.port());
    let mut etl = PgConnection::connect(&database).await.expect("the superuser is let in");
    let count = "SELECT (SELECT count(*) FROM user_logins), (SELECT count(*) FROM etl.quarantine)";
    let counted: (i64, i64) = sqlx::query_as(count).fetch_one(&mut etl).await.expect("rows");
    assert_eq!(counted, (400, 0));
}

/// The README's own example logs in as `etl`, whose search path begins with the schema of that name: ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_is_called_like_our_schema_takes_the_existing_table_over() {
    let Some((cluster, mut owner, _)) = server().await else { return };
    execute(&mut owner, "CREATE ROLE etl LOGIN").await;
    execute(&mut owner, "CREATE DATABASE logins OWNER etl").await;
    let mut etl = PgConnection::connect(&format!("postgres://etl@127.0.0.1:{}/logins", cluster.port()))
        .await
        .expect("etl is trusted");
    let existing = "CREATE TABLE user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                        masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
                    INSERT INTO user_logins (user_id) VALUES ('first')";
    execute(&mut etl, existing).await;
    let stage = Stage::with_queue(Masking::Sha512, LocalQueue::start(600, &[])).await;
    stage.queue.send(logins(20)).await;
    let url = format!("postgres://etl@127.0.0.1:{}/logins", cluster.port());
    stage.worker_on(&url, &["--until-empty"]).wait().assert_code(0);
    let count = "SELECT count(*), count(message_id) FROM public.user_logins";
    let counted: (i64, i64) = sqlx::query_as(count).fetch_one(&mut etl).await.expect("rows");
    assert_eq!(counted, (21, 20), "all rows are in the table that was there");
    let elsewhere: bool = sqlx::query_scalar("SELECT to_regclass('etl.user_logins') IS NOT NULL")
        .fetch_one(&mut etl)
        .await
        .expect("an answer");
    assert!(!elsewhere, "no second table");
}
