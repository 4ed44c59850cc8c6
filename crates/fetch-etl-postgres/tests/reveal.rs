//! Finding what the vault keeps.

use fetch_etl_core::KeyId;
use fetch_etl_postgres::{FoundMasks, Sought};
use fetch_etl_testing::FakeMasker;

use crate::support::{Bench, login, mask, mask_text};

async fn bench() -> Bench {
    let bench = Bench::open().await;
    let logins = vec![
        login("m-1", "ann", "203.0.113.7", "d-1"),
        login("m-2", "ann", "203.0.113.7", "d-2"),
        login("m-3", "bob", "203.0.113.9", "d-1"),
    ];
    bench.write_with_vault(logins).await.unwrap();
    // Before there was a vault.
    bench.write(vec![login("m-4", "ann", "198.51.100.1", "d-1")]).await.unwrap();
    bench
}

/// Field, beginning of the mask, rows, and whether it is kept.
fn told(found: &FoundMasks) -> Vec<(&str, &str, u64, bool)> {
    found.masks.iter().map(|mask| (&*mask.field, &*mask.mask, mask.rows, mask.kept.is_some())).collect()
}

#[tokio::test]
async fn a_value_is_found_by_its_mask_with_what_opens_it() {
    let bench = bench().await;
    let digest = mask("ip", "203.0.113.7");
    let text = mask_text("ip", "203.0.113.7");
    for field in [None, Some("ip")] {
        let found = bench.sink.find_masks(Sought::Mask { mask: &digest, field }, 10).await.unwrap();
        assert_eq!(told(&found), [("ip", &*text, 0, true)]);
        let kept = found.masks[0].kept.as_ref().unwrap();
        assert_eq!(kept.sealed_mask, digest);
        assert_eq!(kept.sealed_key_id, FakeMasker::KEY_ID);
        assert_eq!(kept.ciphertext, digest[..20]);
        assert_eq!((kept.data_key.id, &*kept.data_key.recipient_id), ([7; 16], "r"));
        assert_eq!(&*kept.data_key.bytes, [1, 2, 3]);
    }
    for (field, mask) in [(Some("device_id"), digest), (None, [0; 64]), (None, mask("ip", "198.51.100.1"))] {
        let found = bench.sink.find_masks(Sought::Mask { mask: &mask, field }, 10).await.unwrap();
        assert!(told(&found).is_empty() && !found.more);
    }
}

#[tokio::test]
async fn a_value_is_found_by_row_and_by_person_also_where_nothing_is_kept() {
    let mut bench = bench().await;
    let (ip, old) = (mask_text("ip", "203.0.113.7"), mask_text("ip", "198.51.100.1"));
    let (d1, d2) = (mask_text("device_id", "d-1"), mask_text("device_id", "d-2"));
    let found = bench.sink.find_masks(Sought::Row("m-2"), 10).await.unwrap();
    assert_eq!(told(&found), [("device_id", &*d2, 1, true), ("ip", &*ip, 1, true)]);

    let found = bench.sink.find_masks(Sought::User("ann"), 10).await.unwrap();
    let mut all = told(&found);
    all.sort_unstable();
    let mut expected = [
        ("device_id", &*d1, 2, true),
        ("device_id", &*d2, 1, true),
        ("ip", &*ip, 2, true),
        ("ip", &*old, 1, false),
    ];
    expected.sort_unstable();
    assert_eq!(all, expected);
    assert_eq!((found.kept(), found.more), (3, false));
    for limit in [1, 3, 4] {
        let found = bench.sink.find_masks(Sought::User("ann"), limit).await.unwrap();
        assert_eq!((found.masks.len() as u32, found.more), (limit, limit < 4));
    }
    for nobody in [Sought::User("an"), Sought::User(""), Sought::Row("m"), Sought::Row("")] {
        assert!(bench.sink.find_masks(nobody, 10).await.unwrap().masks.is_empty());
    }

    // Masks of a method that keeps a part, and rows from before.
    bench
        .execute("UPDATE user_logins SET masked_ip = '…77', masked_device_id = NULL WHERE message_id = 'm-1'")
        .await;
    let found = bench.sink.find_masks(Sought::Row("m-1"), 10).await.unwrap();
    assert_eq!(told(&found), [("ip", "…77", 1, false)]);
    bench.execute("DELETE FROM etl.vault_data_keys").await;
    assert_eq!(bench.sink.find_masks(Sought::User("bob"), 10).await.unwrap().kept(), 0);
}

#[tokio::test]
async fn after_a_rotation_both_masks_lead_to_what_was_sealed_under_the_first() {
    let mut bench = bench().await;
    let (old, old_text) = (mask("ip", "203.0.113.7"), mask_text("ip", "203.0.113.7"));
    let (new, new_text) = (mask("ip", "rotated"), mask_text("ip", "rotated"));
    // As a rotation leaves it behind, interrupted before the last of the rows.
    bench
        .execute(&format!(
            "UPDATE etl.pii_vault SET sealed_mask = mask, sealed_key_id = mask_key_id, mask = decode('{new_text}', 'hex'), mask_key_id = 2
            WHERE mask = decode('{old_text}', 'hex');
            UPDATE user_logins SET masked_ip = '{new_text}', mask_key_id = 2 WHERE message_id = 'm-1'"
        ))
        .await;
    for sought in [
        Sought::Mask { mask: &new, field: None },
        Sought::Mask { mask: &old, field: Some("ip") },
        Sought::Row("m-1"),
        Sought::Row("m-2"),
    ] {
        let found = bench.sink.find_masks(sought, 10).await.unwrap();
        let found = found.masks.iter().find(|found| found.field == "ip").unwrap();
        let kept = found.kept.as_ref().unwrap();
        assert_eq!((kept.sealed_mask, kept.sealed_key_id), (old, FakeMasker::KEY_ID));
        assert_eq!(kept.ciphertext, old[..20]);
    }
    // One that nobody rotated is bound to its own mask.
    let found = bench.sink.find_masks(Sought::Row("m-3"), 10).await.unwrap();
    let kept = found.masks[0].kept.as_ref().unwrap();
    assert_eq!((kept.sealed_mask, kept.sealed_key_id), (mask("device_id", "d-1"), KeyId::new(9_999)));
}
