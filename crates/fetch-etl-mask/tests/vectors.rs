use base64::Engine as _;
use fetch_etl_core::{KeyId, Masker, Pii};
use fetch_etl_mask::{HmacSha512Masker, KeyRing, MaskPlan, MasterKey, Method, Sha512Masker};
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
    key2_hex: String,
    after_key1: String,
    after_key2: String,
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
    masker.mask(field, Pii::wrap(value)).unwrap().to_text()
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
        let Rotation { field, value, after_key1, .. } = &fixture.rotation;
        assert_eq!(&mask(&masker, field, value), after_key1);
    }
}

#[test]
fn a_rotation_equals_the_vectors_for_old_masks_and_for_new_values() {
    let fixture = fixture();
    let Rotation { field, value, key2_hex, after_key1, after_key2 } = &fixture.rotation;
    let ring = [(1, &fixture.key_hex), (2, key2_hex)].map(|(id, hex_text)| {
        let bytes = hex::decode(hex_text).unwrap();
        format!("{id}:{}\n", base64::engine::general_purpose::STANDARD.encode(bytes))
    });
    let ring = KeyRing::from_text(&ring.concat()).unwrap();
    let rules = [(field.as_str(), Method::HmacSha512)];
    let plan = MaskPlan::new(Some(ring), "default", Method::HmacSha512, rules).unwrap();
    assert_eq!(&mask(&plan.masker(KeyId::new(1)).unwrap(), field, value), after_key1);
    assert_eq!(&mask(&plan.masker(KeyId::new(2)).unwrap(), field, value), after_key2);
    let remasker = plan.remasker(KeyId::new(2)).unwrap();
    assert_eq!(&remasker.try_remask(field, after_key1, KeyId::new(1)).unwrap().to_text(), after_key2);
}
