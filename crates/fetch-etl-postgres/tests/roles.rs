//! The group roles can do what they are for, and nothing else.

use fetch_etl_core::{ErrorClass, NewestRecipients, PolicyStore, Sink, SinkCode, SinkError};
use fetch_etl_testing::postgres::TestDatabase;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{
    Bench, FakeVault, Role, assert_denied, bad, batch, batch_with_entries, blocked_backend, execute, good,
    goods, policy, report, sink_on,
};

/// What the DBA runs.
const SCRIPT: &str = include_str!("../../../deploy/roles.sql");
/// The migrations that give rights to the group roles.
const MIGRATIONS: [&str; 3] = [
    include_str!("../../../migrations/postgres/0009_roles.sql"),
    include_str!("../../../migrations/postgres/0011_recipients.sql"),
    include_str!("../../../migrations/postgres/0014_ledger_roles.sql"),
];

const GROUPS: [&str; 3] = ["etl_writer", "etl_analyst", "etl_reveal"];

/// Every table of ours and every partition, but for these.
async fn tables_but(bench: &mut Bench, except: &[&str]) -> Vec<String> {
    let sql = "SELECT oid::regclass::text FROM pg_class
        WHERE relnamespace = 'etl'::regnamespace AND relkind IN ('r', 'p') AND oid::regclass::text <> ALL ($1)";
    let tables: Vec<String> =
        sqlx::query_scalar(sql).bind(except).fetch_all(&mut bench.outside).await.unwrap();
    assert!(tables.len() >= 5, "{tables:?}");
    tables
}

fn assert_lacks_right(error: &SinkError) {
    assert_eq!((error.class(), error.code().unwrap().as_str()), (ErrorClass::Fatal, "42501"), "{error}");
}

async fn assert_denied_each(
    connection: &mut PgConnection,
    statement: impl Fn(&str) -> String,
    tables: &[String],
) {
    for table in tables {
        assert_denied(connection, &[&statement(table)]).await;
    }
}

#[tokio::test]
async fn a_writer_does_all_that_a_worker_does() {
    let mut bench = Bench::open().await;
    let role = Role::member_of(&mut bench, "etl_writer").await;
    let sink = role.sink(&bench.database).await;
    sink.check_schema().await.unwrap();
    assert_eq!(sink.pending_migrations().await.unwrap(), 0);

    assert_eq!(sink.newest_recipients().await.unwrap(), NewestRecipients::default());
    assert_eq!(sink.policy_in_force().await.unwrap(), None);
    assert_eq!(sink.key_ids_in_use().await.unwrap(), []);
    let first = sink.put_in_force(&policy("first"), None).await.unwrap().unwrap();
    assert_eq!(sink.policy_in_force().await.unwrap(), Some(first.clone()));
    assert_eq!(sink.put_in_force(&policy("second"), None).await.unwrap(), None);
    sink.hold_to(first.version);

    let vault = FakeVault::new(1);
    bench.execute("INSERT INTO etl.erased (user_id) VALUES ('user of m-3')").await;
    let messages = vec![
        good("m-1"),
        good("m-2").sent_days_ago(2),
        good("m-3"),
        good("named").named_by_producer(),
        bad("r-1"),
        bad("r-2"),
    ];
    let written = sink.write(&batch_with_entries(messages, &vault)).await.unwrap();
    assert_eq!((written.inserted, written.quarantined, written.erased), (4, 2, 1));
    assert_eq!(sink.write(&batch(vec![good("m-1"), bad("r-1")])).await.unwrap(), report(0, 1, 1));
    let suspect = batch_with_entries(vec![good("r-1"), good("m-4"), bad("r-2")], &vault);
    assert_eq!(sink.write(&suspect).await.unwrap(), report(2, 0, 1));
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, 2);
    // Two fingerprints, and no more of the vault.
    let recipient: String = bench.one("SELECT DISTINCT recipient_id FROM etl.vault_data_keys").await;
    assert_eq!(
        sink.newest_recipients().await.unwrap(),
        NewestRecipients { vault: Some(recipient), quarantine: None }
    );
    assert_eq!(sink.key_ids_in_use().await.unwrap(), [Some(fetch_etl_testing::FakeMasker::KEY_ID)]);
    sink.prune_ledger().await.unwrap();

    bench.sink.put_in_force(&policy("second"), Some(first.version)).await.unwrap().unwrap();
    let refused = sink.write(&batch(vec![good("m-5")])).await.unwrap_err();
    assert_eq!(refused.code(), Some(SinkCode::POLICY_CHANGED));
    sink.close().await;
    role.drop(&mut bench).await;
}

#[tokio::test]
async fn a_writer_reads_no_vault_changes_nothing_in_it_and_changes_no_policy() {
    let mut bench = Bench::open().await;
    let version = bench.sink.put_in_force(&policy("first"), None).await.unwrap().unwrap().version;
    bench.sink.write(&batch_with_entries(goods(0..3), &FakeVault::new(1))).await.unwrap();
    let role = Role::member_of(&mut bench, "etl_writer").await;
    let sink = role.sink(&bench.database).await;
    assert_lacks_right(&sink.put_in_force(&policy("second"), Some(version)).await.unwrap_err());
    assert_lacks_right(&sink.migrate().await.unwrap_err());

    let mut connection = role.connect(&bench.database).await;
    let readable = ["etl.ledger", "etl.quarantine", "etl.schema_migrations"];
    let unread = tables_but(&mut bench, &readable).await;
    assert_denied_each(&mut connection, |table| format!("SELECT FROM {table}"), &unread).await;
    let writable = ["etl.ledger", "etl.quarantine", "etl.pii_vault", "etl.vault_data_keys"];
    let unwritten = tables_but(&mut bench, &writable).await;
    assert_denied_each(&mut connection, |table| format!("INSERT INTO {table} DEFAULT VALUES"), &unwritten)
        .await;
    let all = tables_but(&mut bench, &[]).await;
    for verb in ["DELETE FROM", "TRUNCATE"] {
        assert_denied_each(&mut connection, |table| format!("{verb} {table}"), &all).await;
    }
    assert_denied(
        &mut connection,
        &[
            "UPDATE etl.pii_vault SET ciphertext = ''",
            "UPDATE etl.vault_data_keys SET sealed_key = ''",
            "UPDATE etl.policy SET methods = 'none'",
            "UPDATE etl.ledger SET recorded_on = now()",
            "UPDATE user_logins SET masked_ip = NULL",
            "DELETE FROM user_logins",
            "TRUNCATE user_logins",
            "SELECT * FROM user_logins",
            "INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext) SELECT '', '', 1, '', ''
                ON CONFLICT (field, mask) DO UPDATE SET ciphertext = excluded.ciphertext",
            "INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext)
                SELECT '', decode(repeat('00', 64), 'hex'), 1, '', '' RETURNING ciphertext",
            "SELECT user_id FROM user_logins",
            "SELECT etl.put_policy_in_force('none', 0, '', '', 1, 1)",
            "SELECT etl.grant_roles('user_logins')",
            "CREATE TABLE etl.mine ()",
            "ALTER TABLE etl.pii_vault DISABLE TRIGGER ALL",
        ],
    )
    .await;
    sink.close().await;
    connection.close().await.unwrap();
    role.drop(&mut bench).await;
}

#[tokio::test]
async fn an_analyst_reads_the_logins_and_nothing_else() {
    let mut bench = Bench::open().await;
    bench.sink.write(&batch_with_entries(goods(0..3), &FakeVault::new(1))).await.unwrap();
    let role = Role::member_of(&mut bench, "etl_analyst").await;
    let mut connection = role.connect(&bench.database).await;
    let read: i64 = sqlx::query_scalar("SELECT count(masked_ip) FROM user_logins")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(read, 3);
    let all = tables_but(&mut bench, &[]).await;
    for verb in ["SELECT FROM", "DELETE FROM", "TRUNCATE"] {
        assert_denied_each(&mut connection, |table| format!("{verb} {table}"), &all).await;
    }
    assert_denied(
        &mut connection,
        &[
            "INSERT INTO user_logins (user_id) VALUES ('x')",
            "UPDATE user_logins SET masked_ip = NULL",
            "DELETE FROM user_logins",
            "TRUNCATE user_logins",
            "SELECT * FROM etl.policy_in_force()",
            "SELECT * FROM etl.newest_recipients()",
            "SELECT * FROM etl.enter(NULL, '{}')",
            "SELECT etl.prune_ledger(1)",
            "SELECT * FROM etl.quarantine_matching('{}', '{}', '{}', NULL, NULL)",
        ],
    )
    .await;
    connection.close().await.unwrap();
    role.drop(&mut bench).await;
}

#[tokio::test]
async fn who_reveals_reads_the_vault_and_writes_nothing_but_the_audit() {
    let mut bench = Bench::open().await;
    bench.sink.write(&batch_with_entries(goods(0..3), &FakeVault::new(1))).await.unwrap();
    let role = Role::member_of(&mut bench, "etl_reveal").await;
    let mut connection = role.connect(&bench.database).await;
    let found = "SELECT count(*) FROM user_logins AS l
        JOIN etl.pii_vault AS v ON v.field = 'ip' AND v.mask = decode(l.masked_ip, 'hex')
        JOIN etl.vault_data_keys AS k ON k.id = v.dek_id";
    assert_eq!(sqlx::query_scalar::<_, i64>(found).fetch_one(&mut connection).await.unwrap(), 3);
    let unread = tables_but(&mut bench, &["etl.pii_vault", "etl.vault_data_keys"]).await;
    assert_denied_each(&mut connection, |table| format!("SELECT FROM {table}"), &unread).await;
    let mut all = tables_but(&mut bench, &[]).await;
    all.push("user_logins".to_owned());
    for verb in ["DELETE FROM", "TRUNCATE"] {
        assert_denied_each(&mut connection, |table| format!("{verb} {table}"), &all).await;
    }
    assert_denied_each(&mut connection, |table| format!("INSERT INTO {table} DEFAULT VALUES"), &all).await;
    assert_denied(
        &mut connection,
        &[
            "UPDATE etl.pii_vault SET ciphertext = ''",
            "UPDATE user_logins SET masked_ip = NULL",
            "SELECT * FROM etl.enter(NULL, '{}')",
            "SELECT etl.put_first_policy_in_force('none', 0, '', '', 1)",
        ],
    )
    .await;
    connection.close().await.unwrap();
    role.drop(&mut bench).await;
}

/// Whatever its arguments are.
#[tokio::test]
async fn who_reveals_may_append_to_the_audit() {
    let mut bench = Bench::open().await;
    let role = Role::member_of(&mut bench, "etl_reveal").await;
    let mut connection = role.connect(&bench.database).await;
    bench
        .execute(
            "CREATE FUNCTION etl.append_audit(a_type_of_the_test xml) RETURNS integer LANGUAGE sql AS 'SELECT 42';
             REVOKE EXECUTE ON FUNCTION etl.append_audit(xml) FROM PUBLIC",
        )
        .await;
    assert_denied(&mut connection, &["SELECT etl.append_audit(NULL::xml)"]).await;
    bench.execute("SELECT etl.grant_roles('user_logins')").await;
    let appended = sqlx::query_scalar::<_, i32>("SELECT etl.append_audit(NULL::xml)");
    assert_eq!(appended.fetch_one(&mut connection).await.unwrap(), 42);
    connection.close().await.unwrap();
    role.drop(&mut bench).await;
}

/// Every right of the group roles in this database, in words.
const RIGHTS: &str = "
    SELECT format('%s %s %s %s', grantee::regrole, privilege_type, is_grantable, object) AS held
    FROM (
        SELECT oid::regclass::text AS object, relacl AS acl FROM pg_class
        UNION ALL SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute
        UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_proc
        UNION ALL SELECT oid::regnamespace::text, nspacl FROM pg_namespace
    ) AS objects, aclexplode(acl)
    WHERE grantee IN (SELECT oid FROM pg_roles WHERE rolname IN ('etl_writer', 'etl_analyst', 'etl_reveal'))
    ORDER BY held";

async fn rights(connection: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(RIGHTS).fetch_all(connection).await.unwrap()
}

#[tokio::test]
async fn the_dbas_script_gives_what_the_migration_gives() {
    let mut bench = Bench::open().await;
    let from_migration = rights(&mut bench.outside).await;
    for group in GROUPS {
        assert!(from_migration.iter().any(|right| right.starts_with(group)), "{group} has no right");
    }
    bench.execute("DROP OWNED BY etl_writer, etl_analyst, etl_reveal").await;
    assert_eq!(rights(&mut bench.outside).await, [""; 0]);
    // Again changes nothing.
    for _ in 0..2 {
        bench.execute(SCRIPT).await;
        assert_eq!(rights(&mut bench.outside).await, from_migration);
    }
}

#[tokio::test]
async fn the_script_may_come_before_the_migrations() {
    let database = TestDatabase::create().await;
    let mut outside = database.connect().await;
    execute(&mut outside, SCRIPT).await;
    assert_eq!(rights(&mut outside).await, [""; 0]);
    sink_on(&database).await.migrate().await.unwrap();
    assert!(!rights(&mut outside).await.is_empty());
}

#[tokio::test]
async fn the_script_lends_its_rights_to_nobody() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER FUNCTION etl.grant_roles SECURITY INVOKER").await;
    let error = bench.outside.execute(AssertSqlSafe(SCRIPT)).await.unwrap_err();
    assert!(error.to_string().contains("it would run with your rights"), "{error}");
}

/// What somebody who may make functions in a schema on the path would have a DBA call: each ends in an error.
const DECOYS: &str = "
    DO $$
    DECLARE decoy text;
    BEGIN
        FOREACH decoy IN ARRAY ARRAY[
            'to_regrole(text) RETURNS regrole', 'to_regrole(name) RETURNS regrole', 'to_regclass(text) RETURNS regclass',
            'format(text, text) RETURNS text', 'format(text, name) RETURNS text', 'to_regprocedure(text) RETURNS regprocedure',
            'set_config(text, text, boolean) RETURNS text', 'current_setting(text) RETURNS text',
            'has_schema_privilege(oid, text) RETURNS boolean', 'has_function_privilege(oid, text) RETURNS boolean',
            'equal(oid, oid) RETURNS boolean', 'equal(name, text) RETURNS boolean', 'equal(text, text) RETURNS boolean'
        ] LOOP
            EXECUTE 'CREATE FUNCTION public.' || decoy || $b$ LANGUAGE plpgsql AS
                $body$ BEGIN RAISE EXCEPTION 'the decoy runs as %', current_user; END $body$ $b$;
        END LOOP;
    END $$;
    CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.equal);
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.equal);
    CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.equal);
    SET search_path = public, pg_catalog";

#[tokio::test]
async fn the_script_calls_nothing_that_somebody_else_put_on_the_path() {
    let bench = Bench::open().await;
    let renamed = Renamed::for_test(&bench.database);
    let mut connection = bench.database.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    execute(&mut transaction, DECOYS).await;
    // Whatever is called by its bare name is one of them.
    let mut attempt = transaction.begin().await.unwrap();
    for called in ["SELECT to_regrole('postgres')", "SELECT format('x', 'y'::name)", "SELECT 1::oid = 1::oid"]
    {
        let mut one = attempt.begin().await.unwrap();
        let error = one.execute(called).await.unwrap_err();
        assert!(error.to_string().contains("the decoy runs as"), "{called}: {error}");
        one.rollback().await.unwrap();
    }
    attempt.rollback().await.unwrap();
    execute(&mut transaction, &renamed.sql(&in_one_transaction())).await;
    execute(&mut transaction, "SET LOCAL search_path = pg_catalog").await;
    assert_eq!(renamed.groups(&mut transaction).await, ["etl_analyst", "etl_reveal", "etl_writer"]);
    transaction.rollback().await.unwrap();
}

/// The script, for a transaction that is rolled back: roles outlive a database.
fn in_one_transaction() -> String {
    SCRIPT.replace("BEGIN;\n", "").replace("COMMIT;\n", "")
}

/// The roles stay, and what is left to do is said.
#[tokio::test]
async fn who_may_create_roles_and_owns_nothing_makes_them_with_the_script() {
    let mut bench = Bench::open().await;
    let renamed = Renamed::for_test(&bench.database);
    let role = Role::create(&mut bench, "creator").await;
    bench.execute(&format!("ALTER ROLE {} CREATEROLE", role.quoted())).await;
    let mut connection = role.connect(&bench.database).await;
    for _ in 0..2 {
        execute(&mut connection, &renamed.sql(SCRIPT)).await;
        assert_eq!(renamed.groups(&mut bench.outside).await, ["etl_analyst", "etl_reveal", "etl_writer"]);
        assert_eq!(renamed.rights(&mut bench.outside).await, [""; 0]);
    }
    connection.close().await.unwrap();
    bench.execute(&renamed.sql("DROP ROLE etl_writer, etl_analyst, etl_reveal")).await;
    role.drop(&mut bench).await;
}

#[tokio::test]
async fn logins_in_another_schema_are_found_on_the_search_path() {
    let mut bench = Bench::open().await;
    bench.execute("CREATE SCHEMA app; ALTER TABLE user_logins SET SCHEMA app; SET search_path = app").await;
    bench.execute(SCRIPT).await;
    let role = Role::member_of(&mut bench, "etl_analyst").await;
    let mut connection = role.connect(&bench.database).await;
    execute(&mut connection, "SELECT * FROM app.user_logins").await;
    connection.close().await.unwrap();
    role.drop(&mut bench).await;
}

/// The migration and the script, with other names for the group roles: those of the others are there already, in all databases.
struct Renamed {
    suffix: String,
}

impl Renamed {
    fn for_test(database: &TestDatabase) -> Self {
        let (_, random) = database.name().rsplit_once('_').unwrap();
        Self { suffix: format!("_{random}") }
    }

    fn sql(&self, sql: &str) -> String {
        GROUPS
            .iter()
            .fold(sql.to_owned(), |sql, group| sql.replace(group, &format!("{group}{}", self.suffix)))
    }

    async fn migrate(&self, connection: &mut PgConnection, role: &str) {
        let sql = format!(
            "DROP FUNCTION etl.grant_roles, etl.newest_recipients; SET LOCAL ROLE {role}; {}; RESET ROLE",
            self.sql(&MIGRATIONS.concat())
        );
        execute(connection, &sql).await;
    }

    /// With the names that they have elsewhere.
    async fn rights(&self, connection: &mut PgConnection) -> Vec<String> {
        let sql = self.sql(RIGHTS);
        let rights: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap();
        rights.into_iter().map(|right| right.replace(&self.suffix, "")).collect()
    }

    /// Those that are there, and nothing but groups.
    async fn groups(&self, connection: &mut PgConnection) -> Vec<String> {
        let sql = "SELECT replace(rolname, $1, '') FROM pg_roles WHERE right(rolname, length($1)) = $1
            AND NOT rolcanlogin AND NOT rolcreaterole AND NOT rolsuper ORDER BY 1";
        sqlx::query_scalar(sql).bind(&self.suffix).fetch_all(connection).await.unwrap()
    }
}

#[tokio::test]
async fn who_may_not_create_roles_migrates_without_them() {
    let (mut bench, owner) = owned(Bench::open().await, "").await;
    let renamed = Renamed::for_test(&bench.database);
    let expected = rights(&mut bench.outside).await;
    let mut connection = bench.database.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    renamed.migrate(&mut transaction, &owner.quoted()).await;
    assert_eq!(renamed.groups(&mut transaction).await, [""; 0]);
    // The DBA comes later.
    execute(&mut transaction, &renamed.sql(&in_one_transaction())).await;
    // Names are shown as the path has them.
    execute(&mut transaction, "SET LOCAL search_path = public").await;
    assert_eq!(renamed.groups(&mut transaction).await, ["etl_analyst", "etl_reveal", "etl_writer"]);
    assert_eq!(renamed.rights(&mut transaction).await, expected);
    transaction.rollback().await.unwrap();
    disowned(&mut bench, owner).await;
}

#[tokio::test]
async fn who_may_create_roles_and_is_no_superuser_creates_them() {
    let (mut bench, owner) = owned(Bench::open().await, "CREATEROLE").await;
    let renamed = Renamed::for_test(&bench.database);
    let expected = rights(&mut bench.outside).await;
    let mut connection = bench.database.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    renamed.migrate(&mut transaction, &owner.quoted()).await;
    assert_eq!(renamed.groups(&mut transaction).await, ["etl_analyst", "etl_reveal", "etl_writer"]);
    assert_eq!(renamed.rights(&mut transaction).await, expected);
    transaction.rollback().await.unwrap();
    disowned(&mut bench, owner).await;
}

#[tokio::test]
async fn roles_that_are_missing_leave_the_others_their_rights() {
    let (mut bench, owner) = owned(Bench::open().await, "").await;
    let renamed = Renamed::for_test(&bench.database);
    let mut connection = bench.database.connect().await;
    let mut transaction = connection.begin().await.unwrap();
    execute(&mut transaction, &renamed.sql("CREATE ROLE etl_writer")).await;
    renamed.migrate(&mut transaction, &owner.quoted()).await;
    let rights = renamed.rights(&mut transaction).await;
    assert!(!rights.is_empty() && rights.iter().all(|right| right.starts_with("etl_writer ")), "{rights:?}");
    transaction.rollback().await.unwrap();
    disowned(&mut bench, owner).await;
}

/// Two databases of one server, migrated at the same time.
#[tokio::test]
async fn roles_that_another_database_makes_just_now_are_taken() {
    let (mut one, mut two) = (Bench::open().await, Bench::open().await);
    let renamed = std::sync::Arc::new(Renamed::for_test(&one.database));
    let expected = rights(&mut one.outside).await;

    let mut connection = one.database.connect().await;
    let mut first = connection.begin().await.unwrap();
    renamed.migrate(&mut first, "NONE").await;
    let (mut other, its) = (two.database.connect().await, std::sync::Arc::clone(&renamed));
    execute(&mut other, "SET application_name = 'fetch-etl-test'").await;
    let second = tokio::spawn(async move {
        let mut second = other.begin().await.unwrap();
        its.migrate(&mut second, "NONE").await;
        second.commit().await.unwrap();
    });
    blocked_backend(&mut two).await;
    first.commit().await.unwrap();
    second.await.unwrap();
    for bench in [&mut one, &mut two] {
        assert_eq!(renamed.rights(&mut bench.outside).await, expected);
        bench.execute(&renamed.sql("DROP OWNED BY etl_writer, etl_analyst, etl_reveal")).await;
    }
    one.execute(&renamed.sql("DROP ROLE etl_writer, etl_analyst, etl_reveal")).await;
}

/// Gives the database and all that is in it to a role that is no superuser.
async fn owned(mut bench: Bench, attributes: &str) -> (Bench, Role) {
    let role = Role::create(&mut bench, "owner").await;
    let (name, database) = (role.name.clone(), bench.database.name().to_owned());
    bench
        .execute(&format!(
            "ALTER ROLE \"{name}\" {attributes};
             ALTER DATABASE \"{database}\" OWNER TO \"{name}\";
             ALTER TABLE user_logins OWNER TO \"{name}\";
             ALTER SCHEMA etl OWNER TO \"{name}\";
             DO $$
             DECLARE t regclass; f regprocedure;
             BEGIN
                 FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'etl'::regnamespace AND relkind IN ('r', 'p') LOOP
                     EXECUTE format('ALTER TABLE %s OWNER TO \"{name}\"', t);
                 END LOOP;
                 FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'etl'::regnamespace LOOP
                     EXECUTE format('ALTER FUNCTION %s OWNER TO \"{name}\"', f);
                 END LOOP;
             END $$"
        ))
        .await;
    (bench, role)
}

/// Takes everything back, so that the role can be dropped.
async fn disowned(bench: &mut Bench, role: Role) {
    bench.execute(&format!("REASSIGN OWNED BY \"{}\" TO CURRENT_USER", role.name)).await;
    role.drop(bench).await;
}
