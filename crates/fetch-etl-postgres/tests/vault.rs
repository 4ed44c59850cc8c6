//! What batches bring for the vault: stored once, with its row or not at all, and not of persons who were erased.

use std::sync::Arc;

use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Batch, ErrorClass, Sink, SinkError, WriteReport};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan, PgProxy};
use sqlx::Connection;
use tokio::task::JoinSet;

use crate::support::{
    Bench, FakeVault, Message, bad, batch_with_entries, batch_with_vault, blocked_backend, config, good,
    goods, login, report,
};

/// An entry of the vault: field, mask, key of the mask, the data key's number and the ciphertext's.
type Entry = (String, String, i32, i32, i32);

impl Bench {
    async fn write_with_entries(
        &self,
        messages: Vec<Message>,
        vault: &Arc<FakeVault>,
    ) -> Result<WriteReport, SinkError> {
        self.sink.write(&batch_with_entries(messages, vault)).await
    }

    async fn entries(&mut self) -> Vec<Entry> {
        sqlx::query_as(
            "SELECT field, encode(mask, 'hex'), mask_key_id, get_byte(dek_id, 0), get_byte(ciphertext, 92)
            FROM etl.pii_vault ORDER BY field",
        )
        .fetch_all(&mut self.outside)
        .await
        .unwrap()
    }

    /// The numbers of the data keys.
    async fn data_keys(&mut self) -> Vec<i32> {
        let sql = "SELECT get_byte(sealed_key, 93) FROM etl.vault_data_keys
            WHERE get_byte(id, 15) = get_byte(sealed_key, 0) AND recipient_id = 'suite' ORDER BY 1";
        sqlx::query_scalar(sql).fetch_all(&mut self.outside).await.unwrap()
    }

    async fn assert_vault_is_empty(&mut self) {
        assert_eq!((self.entries().await, self.data_keys().await), (vec![], vec![]));
    }
}

fn of_person(message: Message, user: &str) -> Message {
    let body = message.body.replace(&format!("user of {}", message.id), user);
    assert!(body.contains(user));
    Message { body, ..message }
}

/// What the vault must hold for good messages, which all have the same values.
fn entries_of(batch: &Batch<LoginRow>, vault: i32) -> Vec<Entry> {
    let row = batch.rows()[0].row();
    let masks = [("device_id", &row.masked_device_id), ("ip", &row.masked_ip)];
    let entry = |(field, mask): (&str, &Option<fetch_etl_core::MaskedValue>)| {
        (field.to_owned(), mask.as_ref().unwrap().to_text(), row.mask_key_id.get(), vault, vault)
    };
    masks.into_iter().map(entry).collect()
}

#[tokio::test]
async fn an_entry_is_stored_once_and_the_first_one_stays() {
    let mut bench = Bench::open().await;
    let (first, second) = (FakeVault::new(1), FakeVault::new(2));
    let batch = batch_with_entries(vec![good("m-1"), good("m-2"), bad("r-1")], &first);
    assert_eq!(batch.rows().iter().map(|row| row.vault_entries().len()).sum::<usize>(), 4);
    assert_eq!(bench.sink.write(&batch).await.unwrap(), report(2, 0, 1));
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
    assert_eq!(bench.data_keys().await, [1]);

    assert_eq!(bench.write_with_entries(vec![good("m-3")], &second).await.unwrap(), report(1, 0, 0));
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
    assert_eq!(bench.write_with_entries(goods(0..50), &first).await.unwrap(), report(50, 0, 0));
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
}

#[tokio::test]
async fn a_refused_row_leaves_no_entry() {
    let mut bench = Bench::open().await;
    let vault = FakeVault::new(1);
    bench.execute("ALTER TABLE user_logins ADD CHECK (message_id <> 'm-2')").await;
    let error = bench.write_with_entries(vec![good("m-1"), good("m-2")], &vault).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::BadRow, "{error}");
    bench.assert_vault_is_empty().await;
    assert_eq!(bench.write_with_entries(vec![good("m-1")], &vault).await.unwrap(), report(1, 0, 0));
    assert_eq!(bench.entries().await.len(), 2);
}

#[tokio::test]
async fn an_entry_that_the_vault_refuses_leaves_no_row() {
    let mut bench = Bench::open().await;
    bench.execute("ALTER TABLE etl.pii_vault ADD CHECK (field <> 'ip')").await;
    bench.write_with_entries(vec![good("m-1"), bad("r-1")], &FakeVault::new(1)).await.unwrap_err();
    bench.assert_vault_is_empty().await;
    assert_eq!(bench.keys().await, [""; 0]);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.ledger").await, 0);
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.quarantine").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_the_commit_leaves_all_or_nothing() {
    let mut bench = Bench::open().await;
    let vault = FakeVault::new(1);
    let proxy = PgProxy::in_front_of(bench.database.url()).await.unwrap();
    let url = proxy.url_for(bench.database.url()).unwrap();
    let sink = PostgresSink::connect(PostgresSinkConfig::new(url)).await.unwrap();
    let batch = batch_with_entries(vec![good("m-1")], &vault);

    proxy.inject(FaultPlan::next_commit(CommitFault::Before(Ending::Cut)));
    assert_eq!(sink.write(&batch).await.unwrap_err().class(), ErrorClass::Retryable);
    bench.assert_vault_is_empty().await;
    assert_eq!(bench.keys().await, [""; 0]);

    proxy.inject(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
    assert_eq!(sink.write(&batch).await.unwrap_err().class(), ErrorClass::Retryable);
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
    assert_eq!(bench.keys().await, ["m-1"]);
    assert_eq!(sink.write(&batch).await.unwrap(), report(0, 1, 0));
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_with_the_same_entries_do_not_deadlock() {
    const WRITERS: u8 = 8;
    let mut bench = Bench::open().await;
    // Each message has values of its own, and each writer brings them in another order.
    let message = |writer: u8, n: u32| {
        let message = good(&format!("m-{writer}-{n}"));
        Message { body: message.body.replace("593-47-5928", &format!("593-47-{n:04}")), ..message }
    };
    let mut writes = JoinSet::new();
    for writer in 0..WRITERS {
        let first = u32::from(writer) * 40 / u32::from(WRITERS);
        let messages = (0..40).map(|n| message(writer, (first + n) % 40)).collect();
        let (sink, batch) = (bench.sink.clone(), batch_with_entries(messages, &FakeVault::new(writer)));
        writes.spawn(async move { sink.write(&batch).await });
    }
    while let Some(write) = writes.join_next().await {
        assert_eq!(write.unwrap().unwrap(), report(40, 0, 0));
    }
    assert_eq!(bench.entries().await.len(), 41);
    let orphans =
        "SELECT count(*) FROM etl.pii_vault WHERE dek_id NOT IN (SELECT id FROM etl.vault_data_keys)";
    assert_eq!(bench.one::<i64>(orphans).await, 0);
}

#[tokio::test]
async fn a_message_that_comes_back_out_of_the_quarantine_brings_its_entries() {
    let mut bench = Bench::open().await;
    bench.write(vec![bad("m-1")]).await.unwrap();
    bench.write_with_entries(vec![good("m-1")], &FakeVault::new(1)).await.unwrap();
    assert_eq!(bench.entries().await.len(), 2);
    assert_eq!(bench.keys().await, ["m-1"]);
}

#[tokio::test]
async fn of_erased_persons_neither_masks_nor_entries_are_stored() {
    let mut bench = Bench::open().await;
    bench.execute("INSERT INTO etl.erased (user_id) VALUES ('gone'), ('gone too'), ('never seen')").await;
    let vault = FakeVault::new(1);
    let messages = vec![of_person(good("m-1"), "gone"), of_person(good("m-2"), "gone too")];
    let written = bench.write_with_entries(messages.clone(), &vault).await.unwrap();
    assert_eq!(written, WriteReport { erased: 2, ..report(2, 0, 0) });
    bench.assert_vault_is_empty().await;
    let masked =
        "SELECT count(*) FROM user_logins WHERE masked_ip IS NOT NULL OR masked_device_id IS NOT NULL";
    assert_eq!(bench.one::<i64>(masked).await, 0);
    assert_eq!(bench.keys().await, ["m-1", "m-2"]);

    let written = bench.write_with_entries(messages, &vault).await.unwrap();
    assert_eq!(
        written,
        WriteReport { erased: 2, ..report(0, 2, 0) },
        "a redelivery does not bring them back"
    );
    bench.assert_vault_is_empty().await;
}

#[tokio::test]
async fn others_with_the_same_values_are_not_erased() {
    let mut bench = Bench::open().await;
    bench.execute("INSERT INTO etl.erased (user_id) VALUES ('gone')").await;
    let messages = vec![of_person(good("m-1"), "gone"), good("m-2"), of_person(good("m-3"), "gone")];
    let batch = batch_with_entries(messages, &FakeVault::new(1));
    assert_eq!(bench.sink.write(&batch).await.unwrap(), WriteReport { erased: 2, ..report(3, 0, 0) });
    assert_eq!(bench.entries().await, entries_of(&batch, 1));
    let masked = "SELECT string_agg(message_id, ',') FROM user_logins WHERE masked_ip IS NOT NULL";
    assert_eq!(bench.one::<String>(masked).await, "m-2");
}

#[tokio::test]
async fn a_write_that_waits_for_an_erasure_knows_of_it() {
    let mut bench = Bench::open().await;
    let mut eraser = bench.database.connect().await;
    let mut erasure = eraser.begin().await.unwrap();
    let erase =
        "SELECT pg_advisory_xact_lock(etl.policy_lock()); INSERT INTO etl.erased (user_id) VALUES ('gone')";
    sqlx::raw_sql(erase).execute(&mut *erasure).await.unwrap();
    let (sink, vault) = (bench.sink.clone(), FakeVault::new(1));
    let batch = batch_with_entries(vec![of_person(good("m-1"), "gone")], &vault);
    let write = tokio::spawn(async move { sink.write(&batch).await });
    blocked_backend(&mut bench).await;
    erasure.commit().await.unwrap();
    assert_eq!(write.await.unwrap().unwrap(), WriteReport { erased: 1, ..report(1, 0, 0) });
    bench.assert_vault_is_empty().await;
}

#[tokio::test]
async fn masks_that_are_text_have_no_entry() {
    use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};

    struct Prefixes;
    impl Masker for Prefixes {
        fn mask(&self, _: &str, _: &Pii<str>) -> Option<MaskedValue> {
            Some(MaskedValue::from_masked_text("203.0.113.0/24"))
        }
        fn key_id(&self) -> KeyId {
            KeyId::UNKEYED
        }
    }

    let mut bench = Bench::open().await;
    let stager = fetch_etl_core::Stager::new(fetch_etl_core::login::LoginSchema, Arc::new(Prefixes))
        .with_vault(Some(FakeVault::new(1)));
    let delivery = fetch_etl_core::Delivery {
        id: "m-1".into(),
        key: None,
        attempt: 1,
        sent_at: None,
        trace: None,
        body: Pii::new(good("m-1").body.into_bytes()),
        receipt: fetch_etl_core::Receipt::new("receipt"),
    };
    let batch = stager.stage(vec![delivery]).batch;
    assert_eq!(batch.rows()[0].vault_entries().len(), 2);
    assert_eq!(bench.sink.write(&batch).await.unwrap(), report(1, 0, 0));
    bench.assert_vault_is_empty().await;
}

#[tokio::test]
async fn without_entries_nothing_is_asked_of_the_vault() {
    let mut bench = Bench::open().await;
    bench.execute("DROP TABLE etl.pii_vault, etl.vault_data_keys").await;
    let sink = PostgresSink::connect(config(&bench.database)).await.unwrap();
    assert_eq!(sink.write(&crate::support::batch(vec![good("m-1")])).await.unwrap(), report(1, 0, 0));
}

/// A value that no row of a person leads to could not be erased with that person.
#[tokio::test]
async fn a_row_that_is_not_stored_leaves_nothing_in_the_vault() {
    let mut bench = Bench::open().await;
    let first = login("m-1", "u-1", "203.0.113.1", "593-47-5928");
    assert_eq!(bench.sink.write(&batch_with_vault(vec![first])).await.unwrap(), report(1, 0, 0));
    let before = bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await;
    // The same message with other values, alone and beside another one of the same key.
    let again = login("m-1", "u-1", "203.0.113.2", "593-47-5929");
    assert_eq!(bench.sink.write(&batch_with_vault(vec![again])).await.unwrap(), report(0, 1, 0));
    let twice = vec![
        login("m-2", "u-1", "203.0.113.1", "593-47-5928"),
        login("m-2", "u-1", "203.0.113.3", "593-47-5930"),
    ];
    assert_eq!(bench.sink.write(&batch_with_vault(twice)).await.unwrap(), report(1, 1, 0));
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, before);
}
