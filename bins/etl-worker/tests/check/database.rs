//! What is found about Postgres, and about the worker's login there.

use std::collections::BTreeSet;

use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Report, Setup};

/// What the server of the other tests may be like: it holds nothing that anybody needs.
const OF_THE_SERVER: [&str; 3] =
    ["database-fsync-off", "database-full-page-writes-off", "database-synchronous-commit-off"];

/// A migrated database, and a login there that has nothing to be found.
struct Postgres {
    setup: Setup,
    // Dropped with this.
    _database: TestDatabase,
    owner: PgConnection,
    login: String,
}

impl Postgres {
    async fn open() -> Self {
        Self::with(TestDatabase::create().await).await
    }

    async fn with(database: TestDatabase) -> Self {
        let mut setup = Setup::new().await;
        setup.set("ETL_SINK__DATABASE_URL", database.url());
        let migrated = setup.run(&["migrate"]);
        assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
        let login = format!("{}_worker", database.name());
        let mut owner = database.connect().await;
        let role = format!(
            "CREATE ROLE {login} LOGIN; GRANT etl_writer TO {login}; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
            ALTER ROLE {login} SET log_error_verbosity = terse; ALTER ROLE {login} SET log_parameter_max_length = 0"
        );
        execute(&mut owner, &role).await;
        let (_, address) = database.url().split_once('@').unwrap();
        setup.set("ETL_SINK__DATABASE_URL", &format!("postgres://{login}@{address}"));
        setup.set("ETL_SINK__MIGRATE", "false");
        Self { setup, _database: database, owner, login }
    }

    /// `@` is the login.
    async fn execute(&mut self, sql: &str) {
        execute(&mut self.owner, &sql.replace('@', &self.login)).await;
    }

    /// What is found after this, besides what is so on the tests' server: this, and nothing else.
    async fn finds_after(&mut self, sql: &str, code: &str) -> Report {
        self.execute(sql).await;
        let report = self.setup.check();
        assert_eq!(of_login(&report), BTreeSet::from([code.to_owned()]), "{:#}", report.json);
        report
    }

    async fn close(mut self) {
        self.execute("REASSIGN OWNED BY @ TO CURRENT_USER; DROP OWNED BY @; DROP ROLE @").await;
    }
}

fn of_login(report: &Report) -> BTreeSet<String> {
    let mut codes = report.codes();
    codes.retain(|code| !OF_THE_SERVER.contains(&code.as_str()));
    codes
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

/// On a cluster of its own, for its settings are all sessions'.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_what_it_committed() {
    let Some(binaries) = Binaries::find() else {
        eprintln!("not shown: there are no programs of a Postgres server on this machine");
        return;
    };
    let cluster = Cluster::start(&binaries, Durability::Full).unwrap();
    let postgres = Postgres::with(TestDatabase::create_on(&cluster.url()).await).await;
    let report = postgres.setup.check();
    assert_eq!((report.exit, report.codes().len()), (0, 0), "{:#}", report.json);
    let settings = ["fsync", "full_page_writes", "synchronous_commit"];
    for (setting, code) in settings.into_iter().zip(OF_THE_SERVER) {
        cluster.configure(&format!("{setting} = off\n")).unwrap();
        cluster.restart(fetch_etl_scratch_postgres::Shutdown::Fast).unwrap();
        postgres.setup.finds(code);
        cluster.configure(&format!("{setting} = on\n")).unwrap();
    }
    cluster.restart(fetch_etl_scratch_postgres::Shutdown::Fast).unwrap();
    assert_eq!(postgres.setup.check().exit, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_a_worker_does_not_need() {
    let mut postgres = Postgres::open().await;
    assert_eq!(of_login(&postgres.setup.check()), BTreeSet::new());
    for (grant, code, revoke) in [
        ("GRANT DELETE ON user_logins TO @", "database-changes-rows", "REVOKE DELETE ON user_logins FROM @"),
        ("GRANT UPDATE ON user_logins TO @", "database-changes-rows", "REVOKE UPDATE ON user_logins FROM @"),
        ("GRANT DELETE ON etl.ledger TO @", "database-changes-ledger", "REVOKE DELETE ON etl.ledger FROM @"),
        (
            "GRANT TRUNCATE ON etl.quarantine TO @",
            "database-changes-ledger",
            "REVOKE TRUNCATE ON etl.quarantine FROM @",
        ),
        ("GRANT CREATE ON SCHEMA etl TO @", "database-creates-objects", "REVOKE CREATE ON SCHEMA etl FROM @"),
        (
            "GRANT CREATE ON SCHEMA public TO @",
            "database-creates-objects",
            "REVOKE CREATE ON SCHEMA public FROM @",
        ),
        ("GRANT etl_reveal TO @", "database-reads-vault", "REVOKE etl_reveal FROM @"),
        ("GRANT UPDATE ON etl.policy TO @", "database-changes-policy", "REVOKE UPDATE ON etl.policy FROM @"),
    ] {
        postgres.finds_after(grant, code).await;
        postgres.execute(revoke).await;
    }
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_owns_the_tables() {
    let mut postgres = Postgres::open().await;
    let report = postgres.finds_after("ALTER TABLE user_logins OWNER TO @", "database-owns-tables").await;
    assert!(report.what("database-owns-tables").ends_with(" owns user_logins"));
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_may_do_anything() {
    let mut postgres = Postgres::open().await;
    postgres.finds_after("ALTER ROLE @ SUPERUSER", "database-superuser").await;
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_quotes_values() {
    let mut postgres = Postgres::open().await;
    let code = "database-log-quotes-values";
    let report = postgres.finds_after("ALTER ROLE @ RESET log_error_verbosity", code).await;
    assert!(report.what(code).ends_with("(log_error_verbosity)"));
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes() {
    let mut postgres = Postgres::open().await;
    let sql = "ALTER ROLE @ SET default_transaction_read_only = on";
    postgres.finds_after(sql, "database-read-only").await;
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_from_the_databases() {
    let mut postgres = Postgres::open().await;
    let sql = "CREATE SCHEMA slow; GRANT USAGE ON SCHEMA slow TO @;
        CREATE FUNCTION slow.clock_timestamp() RETURNS timestamptz LANGUAGE sql
            AS $$ SELECT pg_catalog.clock_timestamp() - interval '1 minute' $$;
        ALTER ROLE @ SET search_path = slow, pg_catalog, public";
    let report = postgres.finds_after(sql, "clock-differs-from-database").await;
    assert!(report.what("clock-differs-from-database").contains(" seconds ahead of the database's"));
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_do_not_fit() {
    let mut postgres = Postgres::open().await;
    let sql = "ALTER TABLE user_logins ALTER masked_ip TYPE varchar(64)";
    let report = postgres.finds_after(sql, "database-tables-unfit").await;
    assert!(report.what("database-tables-unfit").contains("masked_ip is character varying(64)"));
    postgres.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_there_and_nobody_makes() {
    let mut setup = Setup::new().await;
    let database = TestDatabase::create().await;
    setup.set("ETL_SINK__DATABASE_URL", database.url());
    setup.set("ETL_SINK__MIGRATE", "false");
    assert!(setup.check().codes().contains("database-not-migrated"));
    setup.set("ETL_SINK__MIGRATE", "true");
    assert!(!setup.check().codes().contains("database-not-migrated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_need_not_be_encrypted_and_writers_that_wait() {
    let mut postgres = Postgres::open().await;
    postgres.setup.set("ETL_PIPELINE__WRITERS", "5");
    postgres.finds_after("SELECT 1", "pipeline-writers-share-connections").await;
    let url = |query: &str| format!("postgres://etl@database.invalid/logins{query}");
    for (query, is_found) in [("", true), ("?sslmode=prefer", true), ("?sslmode=verify-full", false)] {
        postgres.setup.set("ETL_SINK__DATABASE_URL", &url(query));
        let report = postgres.setup.check();
        assert_eq!(report.codes().contains("database-connection-in-clear"), is_found, "{query}");
        assert_eq!(report.exit, 3);
    }
    postgres.close().await;
}
