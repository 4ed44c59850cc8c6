use fetch_etl_core::{KeyId, Masker, Pii};
use fetch_etl_mask::{HmacSha512Masker, MasterKey, Sha512Masker};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    key_hex: String,
    vectors: Vec<Vector>,
    rotation: Rotation,
}

#[derive(Deserialize)]
struct Vector {
    field: String,
    value: String,
    sha512: String,
    hmac_sha512: String,
}

#[derive(Deserialize)]
struct Rotation {
    field: String,
    value: String,
    after_key1: String,
}

fn fixture() -> Fixture {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mask-vectors.json"));
    serde_json::from_str(text).unwrap()
}

fn keyed(fixture: &Fixture) -> HmacSha512Masker {
    let key = MasterKey::from_bytes(hex::decode(&fixture.key_hex).unwrap()).unwrap();
    HmacSha512Masker::new(&key, KeyId::new(1), "default").unwrap()
}

fn mask(masker: &dyn Masker, field: &str, value: &str) -> String {
    masker.mask(field, Pii::wrap(value)).to_text()
}

#[test]
fn the_vectors_cover_both_fields() {
    let vectors = fixture().vectors;
    for field in ["ip", "device_id"] {
        assert!(vectors.iter().filter(|vector| vector.field == field).count() >= 4, "{field}");
    }
}

#[test]
fn sha512_equals_the_vectors() {
    for Vector { field, value, sha512, .. } in fixture().vectors {
        assert_eq!(mask(&Sha512Masker, &field, &value), sha512, "{field} {value:?}");
    }
}

#[test]
fn hmac_sha512_equals_the_vectors_with_prepared_fields_and_without() {
    let fixture = fixture();
    for masker in [keyed(&fixture), keyed(&fixture).with_fields(["ip", "device_id"])] {
        for Vector { field, value, hmac_sha512, .. } in &fixture.vectors {
            assert_eq!(&mask(&masker, field, value), hmac_sha512, "{field} {value:?}");
        }
        let Rotation { field, value, after_key1 } = &fixture.rotation;
        assert_eq!(&mask(&masker, field, value), after_key1);
    }
}
