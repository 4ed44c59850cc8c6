//! Real failures have the right class, and no error shows a value.

use std::time::Duration;

use fetch_etl_core::{ErrorClass, Sink, SinkError};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::Connection;

use crate::support::{Bench, Message, bad, batch, blocked_backend, config, good, report, sink_on};

fn assert_failed(error: &SinkError, class: ErrorClass, code: Option<&str>) {
    let found = error.code();
    assert_eq!((error.class(), found.as_ref().map(|code| code.as_str())), (class, code), "{error}");
}

async fn connect_error(config: PostgresSinkConfig) -> SinkError {
    PostgresSink::connect(config).await.unwrap_err()
}

#[tokio::test]
async fn without_tables_it_is_fatal_and_says_how_to_make_them() {
    let database = TestDatabase::create().await;
    let error = sink_on(&database).await.write(&batch(vec![good("m-1")])).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Fatal);
    assert!(error.to_string().contains("`etl-worker migrate`"), "{error}");
}

#[tokio::test]
async fn a_dropped_table_and_a_dropped_column_are_fatal() {
    let mut bench = Bench::open().await;
    bench.write(vec![good("m-1")]).await.unwrap();
    bench.execute("ALTER TABLE user_logins DROP COLUMN locale").await;
    assert_failed(&bench.write(vec![good("m-2")]).await.unwrap_err(), ErrorClass::Fatal, Some("42703"));
    bench.execute("DROP TABLE user_logins").await;
    assert_failed(&bench.write(vec![good("m-2")]).await.unwrap_err(), ErrorClass::Fatal, Some("42P01"));
}

#[tokio::test]
async fn a_read_only_database_may_become_writable() {
    let mut bench = Bench::open().await;
    let name = bench.database.name().to_owned();
    bench.execute(&format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on")).await;
    let sink = sink_on(&bench.database).await;
    assert_failed(
        &sink.write(&batch(vec![good("m-1")])).await.unwrap_err(),
        ErrorClass::Retryable,
        Some("25006"),
    );
    bench.execute(&format!("ALTER DATABASE \"{name}\" RESET default_transaction_read_only")).await;
    assert_eq!(sink.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
}

/// Starts a write that a lock holds up, does something to its session, ends the lock, and returns what became of the write.
async fn while_writing(bench: &mut Bench, messages: Vec<Message>, disturbance: &str) -> SinkError {
    let mut locker = bench.database.connect().await;
    let mut lock = locker.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE user_logins").execute(&mut *lock).await.unwrap();
    let sink = bench.sink.clone();
    let write = tokio::spawn(async move { sink.write(&batch(messages)).await });
    let pid = blocked_backend(bench).await;
    assert!(bench.one::<bool>(&format!("SELECT {disturbance}({pid})")).await);
    let error = write.await.unwrap().unwrap_err();
    lock.rollback().await.unwrap();
    error
}

#[tokio::test]
async fn a_terminated_backend_is_retried_on_another_one() {
    let mut bench = Bench::open().await;
    let error = while_writing(&mut bench, vec![good("m-1"), bad("r-1")], "pg_terminate_backend").await;
    assert_failed(&error, ErrorClass::Retryable, Some("57P01"));
    assert_eq!(bench.keys().await, [""; 0]);
    assert_eq!(bench.write(vec![good("m-1"), bad("r-1")]).await.unwrap(), report(1, 0, 1));
}

#[tokio::test]
async fn a_cancelled_statement_is_retried() {
    let mut bench = Bench::open().await;
    let error = while_writing(&mut bench, vec![good("m-1")], "pg_cancel_backend").await;
    assert_failed(&error, ErrorClass::Retryable, Some("57014"));
    assert_eq!(bench.write(vec![good("m-1")]).await.unwrap(), report(1, 0, 0));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up() {
    let bench = Bench::open().await;
    let config =
        PostgresSinkConfig { statement_timeout: Duration::from_millis(100), ..config(&bench.database) };
    let impatient = PostgresSink::connect(config).await.unwrap();
    let mut locker = bench.database.connect().await;
    let mut lock = locker.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE user_logins").execute(&mut *lock).await.unwrap();
    let error = impatient.write(&batch(vec![good("m-1")])).await.unwrap_err();
    assert_failed(&error, ErrorClass::Retryable, Some("57014"));
    lock.rollback().await.unwrap();
    assert_eq!(impatient.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
}

#[tokio::test]
async fn sessions_that_idled_away_are_replaced_without_an_error() {
    let mut bench = Bench::open().await;
    bench.write(vec![good("m-1")]).await.unwrap();
    let terminate = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'fetch-etl-test'";
    assert!(bench.one::<i64>(terminate).await > 0);
    // The first write may meet the dead session, but not a second one.
    let results = [bench.write(vec![good("m-2")]).await, bench.write(vec![good("m-2")]).await];
    assert!(
        results[0].as_ref().err().is_none_or(|error| error.class() == ErrorClass::Retryable),
        "{results:?}"
    );
    assert!(results[1].is_ok(), "{results:?}");
}

#[tokio::test]
async fn a_wrong_role_and_a_wrong_database_are_fatal() {
    let database = TestDatabase::create().await;
    let no_such_database = database.url().replace(database.name(), "fetch_etl_no_such_database");
    let error = connect_error(PostgresSinkConfig::new(no_such_database)).await;
    assert_failed(&error, ErrorClass::Fatal, Some("3D000"));

    let (_, address) = database.url().split_once('@').unwrap();
    let error = connect_error(PostgresSinkConfig::new(format!("postgres://nobody:canary@{address}"))).await;
    assert_eq!(error.class(), ErrorClass::Fatal, "{error}");
    let code = error.code().unwrap();
    // Which of the two it is depends on the server's pg_hba.conf.
    assert!(["28000", "28P01"].contains(&code.as_str()), "{error}");
}

#[tokio::test]
async fn no_server_may_become_one() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = connect_error(PostgresSinkConfig::new(format!("postgres://etl:canary@{address}/db"))).await;
    assert_failed(&error, ErrorClass::Retryable, None);
    assert_eq!(error.to_string(), "cannot reach Postgres: connection refused");
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for_forever() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://etl:canary@{}/db", listener.local_addr().unwrap());
    let config =
        PostgresSinkConfig { connect_timeout: Duration::from_millis(100), ..PostgresSinkConfig::new(url) };
    assert_failed(&connect_error(config).await, ErrorClass::Retryable, None);
}

#[tokio::test]
async fn a_closed_sink_is_fatal() {
    let bench = Bench::open().await;
    bench.sink.close().await;
    assert_failed(&bench.write(vec![good("m-1")]).await.unwrap_err(), ErrorClass::Fatal, None);
}

#[tokio::test]
async fn no_error_shows_the_url() {
    for url in [
        "postgres://etl:canary@127.0.0.1:1/db",
        "postgres://etl:canary@host:notaport/db",
        "canary",
        "mysql://canary@h/db",
    ] {
        let config = PostgresSinkConfig::new(url);
        assert!(!format!("{config:?}").contains("canary"));
        let error = connect_error(config).await;
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}

/// Postgres quotes values in its messages and in DETAIL; of each kind of refusal, none may come through.
#[tokio::test]
async fn no_error_shows_a_value_of_a_row() {
    let refusals = [
        ("22001", "ALTER COLUMN user_id TYPE varchar(3)"),
        ("22P02", "ALTER COLUMN user_id TYPE integer USING 0"),
        ("23502", "ADD COLUMN more integer NOT NULL"),
        ("23505", "ADD CONSTRAINT one_login UNIQUE (user_id)"),
        ("23514", "ADD CONSTRAINT no_canary CHECK (user_id NOT LIKE '%canary%')"),
        ("23503", "ADD CONSTRAINT known FOREIGN KEY (user_id) REFERENCES users (id)"),
        ("23P01", "ADD CONSTRAINT alone EXCLUDE (user_id WITH =)"),
        ("42804", "ALTER COLUMN user_id TYPE integer USING 0"),
    ];
    let mut refused = 0;
    for (code, alteration) in refusals {
        let mut bench = Bench::open().await;
        bench
            .execute(&format!(
                "CREATE TABLE users (id varchar PRIMARY KEY); ALTER TABLE user_logins {alteration}"
            ))
            .await;
        let Message { body, .. } = good("m");
        let body = body
            .replace("user of m", "canary-user")
            .replace("203.0.113.7", "canary-ip")
            .replace("US", "canary-locale");
        let messages = ["m-1", "m-2"].map(|id| Message { body: body.clone(), ..good(id) });
        let Err(error) = bench.write(messages.to_vec()).await else { panic!("{alteration} refused nothing") };
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary-") && !shown.contains("failing row"), "{shown}");
        refused += usize::from(error.code().is_some_and(|found| found.as_str() == code));
    }
    assert_eq!(refused, 7, "an integer user_id is 22P02 or 42804, never both");
}

#[tokio::test]
async fn sessions_keep_what_they_say_is_stored() {
    let mut bench = Bench::open().await;
    let name = bench.database.name().to_owned();
    bench.execute(&format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off")).await;
    // A trigger sees the settings of the session that writes.
    bench
        .execute(
            "CREATE TABLE seen (value text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
             CREATE TRIGGER see BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .await;
    let sink = sink_on(&bench.database).await;
    sink.write(&batch(vec![good("m-1")])).await.unwrap();
    assert_eq!(bench.one::<String>("SELECT value FROM seen").await, "on");
}

/// Postgres quotes a refused row, and the parameters of a slow statement, in its own log, unless the session tells it not to.
#[tokio::test]
async fn sessions_of_a_superuser_keep_values_out_of_the_servers_log() {
    let mut bench = Bench::open().await;
    bench
        .execute(
            "CREATE TABLE seen (verbosity text, parameters text);
             CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO seen VALUES
                     (current_setting('log_error_verbosity'), current_setting('log_parameter_max_length', true));
                 RETURN NEW;
             END $$;
             CREATE TRIGGER see BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION see()",
        )
        .await;
    bench.write(vec![good("m-1")]).await.unwrap();
    assert_eq!(bench.one::<String>("SELECT verbosity FROM seen").await, "terse");
    // Postgres 12 has no such setting, and quotes parameters only where it is told to log all statements.
    let parameters = bench.one::<Option<String>>("SELECT nullif(parameters, '') FROM seen").await;
    assert!(parameters.is_none_or(|bytes| bytes == "0"));
}

#[tokio::test]
async fn a_role_that_is_no_superuser_writes_without_those_settings() {
    let mut bench = Bench::open().await;
    let role = format!("writer_{}", bench.database.name());
    bench
        .execute(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT USAGE ON SCHEMA etl TO {role};
             GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA etl, public TO {role};
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA etl TO {role}"
        ))
        .await;
    let (scheme, rest) = bench.database.url().split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    let config = PostgresSinkConfig::new(format!("{scheme}://{role}@{host}"));
    let written = async {
        let sink = PostgresSink::connect(config).await?;
        let report = sink.write(&batch(vec![good("m-1")])).await?;
        sink.close().await;
        Ok::<_, SinkError>(report)
    }
    .await;
    bench.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    assert_eq!(written.unwrap().inserted, 1);
}
