//! Pruning the vault takes what no row leads to, and nothing else.

use std::sync::Mutex;

use fetch_etl_postgres::Pruned;

use crate::support::{Bench, login, mask_text};

impl Bench {
    async fn prune(&self, really: bool) -> Pruned {
        let mut maintenance = self.sink.begin_maintenance().await.unwrap();
        let last = Mutex::new(Pruned::default());
        let pruned = maintenance.prune_vault(really, &|pruned| *last.lock().unwrap() = pruned).await.unwrap();
        assert_eq!(last.into_inner().unwrap().entries, pruned.entries, "progress was told to the end");
        maintenance.end().await.unwrap();
        pruned
    }
}

#[tokio::test]
async fn an_entry_stays_as_long_as_a_row_leads_to_it_by_either_of_its_masks() {
    let mut bench = Bench::open().await;
    let logins = vec![
        login("m-1", "p", "203.0.113.1", "d-1"),
        login("m-2", "q", "203.0.113.2", "d-2"),
        // The same text in the other field is another value.
        login("m-3", "q", "203.0.113.3", "203.0.113.1"),
    ];
    bench.write_with_vault(logins).await.unwrap();
    // A field that is no column of the rows.
    bench
        .execute(
            "INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext) VALUES ('email', sha512('x'), 1, '', '')",
        )
        .await;
    assert_eq!(bench.prune(true).await, Pruned::default());

    // A row that a rotation left behind leads to its entry by the mask that it was sealed under.
    let sealed = format!(
        "UPDATE etl.pii_vault SET sealed_mask = mask, sealed_key_id = mask_key_id, mask = sha512(mask)
        WHERE encode(mask, 'hex') = '{}'",
        mask_text("ip", "203.0.113.2")
    );
    bench.execute(&sealed).await;
    bench.execute("DELETE FROM user_logins WHERE message_id = 'm-1'").await;
    assert_eq!(bench.prune(false).await, Pruned { entries: 2, data_keys: 0 });
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM etl.pii_vault").await, 7);
    assert_eq!(bench.prune(true).await, Pruned { entries: 2, data_keys: 0 });
    let left: String = bench.one("SELECT string_agg(field, ' ' ORDER BY field) FROM etl.pii_vault").await;
    assert_eq!(left, "device_id device_id email ip ip");
    let gone = format!(
        "SELECT count(*) FROM etl.pii_vault WHERE (field, encode(mask, 'hex')) IN (('ip', '{}'), ('device_id', '{}'))",
        mask_text("ip", "203.0.113.1"),
        mask_text("device_id", "d-1")
    );
    assert_eq!(bench.one::<i64>(&gone).await, 0);
}

#[tokio::test]
async fn a_data_key_goes_with_the_last_of_its_values_unless_it_is_new() {
    let mut bench = Bench::open().await;
    bench.write_with_vault(vec![login("m-1", "p", "203.0.113.1", "d-1")]).await.unwrap();
    bench
        .execute(
            "INSERT INTO etl.vault_data_keys (id, recipient_id, sealed_key, created_at) VALUES
            (decode(repeat('01', 16), 'hex'), 'old', '', now() - interval '2 days'),
            (decode(repeat('02', 16), 'hex'), 'new', '', now() - interval '1 hour')",
        )
        .await;
    let recipients = "SELECT string_agg(recipient_id, ' ' ORDER BY recipient_id) FROM etl.vault_data_keys";
    assert_eq!(bench.prune(true).await, Pruned { entries: 0, data_keys: 1 });
    assert_eq!(bench.one::<String>(recipients).await, "new r", "one is in use, one may be in a moment");
    bench.execute("UPDATE etl.vault_data_keys SET created_at = created_at - interval '5 days'").await;
    bench.execute("DELETE FROM user_logins").await;
    assert_eq!(bench.prune(true).await, Pruned { entries: 2, data_keys: 1 });
    assert_eq!(bench.one::<String>(recipients).await, "r", "the newest stays");
}
