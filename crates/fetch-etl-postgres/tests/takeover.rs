//! A table that its users already have, with rows, is taken over.

use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{Bench, batch, execute, good, report, sink_on};
use fetch_etl_core::Sink;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};

const EXISTING: &str = "
    CREATE TABLE user_logins (
        user_id          varchar(128),
        device_type      varchar(32),
        masked_ip        varchar(256),
        masked_device_id varchar(256),
        locale           varchar(32),
        app_version      integer,
        create_date      date
    );
    INSERT INTO user_logins VALUES
        ('first', 'ios', 'ab', 'cd', 'DE', 1002003, '2023-01-31'),
        ('second', NULL, NULL, NULL, NULL, NULL, NULL);
";

async fn taken_over() -> Bench {
    let database = TestDatabase::create().await;
    execute(&mut database.connect().await, EXISTING).await;
    let sink = sink_on(&database).await;
    sink.migrate().await.unwrap();
    Bench { outside: database.connect().await, sink: sink.into(), database }
}

#[tokio::test]
async fn its_rows_stay_as_they_are_and_are_told_from_ours() {
    let mut bench = taken_over().await;
    bench.sink.check_schema().await.unwrap();
    let old = "SELECT string_agg(l::text, ' ' ORDER BY user_id) FROM user_logins AS l";
    assert_eq!(
        bench.one::<String>(old).await,
        "(first,ios,ab,cd,DE,1002003,2023-01-31,,,,) (second,,,,,,,,,,)",
        "the new columns are NULL, also the one with a default"
    );
}

#[tokio::test]
async fn new_rows_go_beside_the_old_ones() {
    let mut bench = taken_over().await;
    assert_eq!(bench.sink.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
    let counts = "SELECT count(*) FILTER (WHERE ingested_at IS NULL) || ' ' ||
        count(*) FILTER (WHERE ingested_at > now() - interval '1 hour' AND mask_key_id IS NOT NULL) FROM user_logins";
    assert_eq!(bench.one::<String>(counts).await, "2 1");
}

#[tokio::test]
async fn a_table_of_that_name_in_another_schema_is_left_alone() {
    let database = TestDatabase::create().await;
    execute(&mut database.connect().await, "CREATE SCHEMA other; CREATE TABLE other.user_logins (id int)")
        .await;
    let mut bench = {
        let sink = sink_on(&database).await;
        sink.migrate().await.unwrap();
        Bench { outside: database.connect().await, sink: sink.into(), database }
    };
    bench.write(vec![good("m-1")]).await.unwrap();
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM other.user_logins").await, 0);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM public.user_logins").await, 1);
}

/// As for a role called `etl`, whose search path begins with the schema of that name.
async fn migrated_as_etl(before: &str) -> Bench {
    let database = TestDatabase::create().await;
    execute(&mut database.connect().await, before).await;
    let url = format!("{}?options[search_path]=etl,public", database.url());
    let sink = PostgresSink::connect(PostgresSinkConfig::new(url)).await.unwrap();
    sink.migrate().await.unwrap();
    sink.check_schema().await.unwrap();
    Bench { outside: database.connect().await, sink: sink.into(), database }
}

#[tokio::test]
async fn a_role_called_etl_stores_rows_where_others_find_them() {
    // Whether our schema is there already must not matter.
    for before in ["", "CREATE SCHEMA etl"] {
        let mut bench = migrated_as_etl(before).await;
        assert_eq!(bench.sink.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
        assert_eq!(bench.one::<i64>("SELECT count(*) FROM public.user_logins").await, 1, "{before}");
        assert!(bench.one::<bool>("SELECT to_regclass('etl.user_logins') IS NULL").await, "{before}");
    }
}

#[tokio::test]
async fn a_role_called_etl_takes_the_existing_table_over() {
    let mut bench = migrated_as_etl(EXISTING).await;
    assert_eq!(bench.sink.write(&batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM public.user_logins").await, 3);
}
