//! What a look at a database shows of the login that looks.

use fetch_etl_postgres::DatabasePosture;
use fetch_etl_testing::postgres::TestDatabase;

use crate::support::{Bench, Role, sink_on};

fn assert_shows_no_right(posture: &DatabasePosture) {
    let DatabasePosture { owns, rights_on_rows, rights_on_books, creates_in, readable_vault, .. } = posture;
    let rights = [owns, rights_on_rows, rights_on_books, creates_in, readable_vault];
    assert_eq!(rights, [&const { Vec::<String>::new() }; 5]);
}

#[tokio::test]
async fn a_writer_has_nothing_that_its_posture_would_show() {
    let mut bench = Bench::open().await;
    // As it is from Postgres 15 on.
    bench.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let role = Role::member_of(&mut bench, "etl_writer").await;
    let sink = role.sink(&bench.database).await;
    let posture = sink.posture().await.unwrap();
    assert!(!posture.is_superuser && !posture.can_change_policy && !posture.is_read_only);
    assert_shows_no_right(&posture);
    sink.close().await;

    // Whoever migrated it, here a superuser, has all of it.
    let posture = bench.sink.posture().await.unwrap();
    assert!(posture.is_superuser && posture.can_change_policy);
    assert_eq!(posture.rights_on_rows, ["UPDATE", "DELETE", "TRUNCATE"]);
    assert_eq!(posture.rights_on_books.len(), 5, "{:?}", posture.rights_on_books);
    assert_eq!(posture.creates_in, ["etl", "public"]);
    assert!(
        posture.owns.contains(&"user_logins".to_owned()) && posture.owns.contains(&"etl.ledger".to_owned())
    );
    role.drop(&mut bench).await;
}

#[tokio::test]
async fn what_is_not_there_yet_is_not_held_against_a_database() {
    let database = TestDatabase::create().await;
    let posture = sink_on(&database).await.posture().await.unwrap();
    assert_shows_no_right(&posture);
    assert!(!posture.can_change_policy);
}
