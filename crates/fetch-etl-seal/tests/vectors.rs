//! Sealed bodies and values from the past, and from another implementation: they must open for ever.
//!
//! `vectors.json` is never edited, only added to. `other_implementation.py` made some of it, and opens all of it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_core::{KeyId, SealedDataKey};
use fetch_etl_seal::{KeyPair, Opener, Purpose, Recipient, VaultOpener};
use serde::Deserialize;

use crate::message;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(rename = "about")]
    _about: String,
    keys: BTreeMap<String, Key>,
    vectors: Vec<Vector>,
    vault: Vec<VaultVector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) recipient_id: String,
    pub(crate) public: String,
    pub(crate) private: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    made_by: String,
    key: String,
    purpose: String,
    message_key: String,
    body_base64: String,
    sealed_base64: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultVector {
    name: String,
    made_by: String,
    key: String,
    data_key_id_hex: String,
    data_key_base64: String,
    field: String,
    mask_hex: String,
    mask_key_id: i32,
    value: String,
    ciphertext_base64: String,
}

impl File {
    pub(crate) fn key(&self, name: &str) -> &Key {
        &self.keys[name]
    }
}

pub(crate) fn file() -> File {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

#[test]
fn every_vector_opens() {
    let file = file();
    for vector in &file.vectors {
        let purpose = match vector.purpose.as_str() {
            "quarantine" => Purpose::Quarantine,
            "vault" => Purpose::Vault,
            other => panic!("{other}"),
        };
        let opener = Opener::new(KeyPair::from_text(&file.key(&vector.key).private).unwrap());
        let sealed = STANDARD.decode(&vector.sealed_base64).unwrap();
        let opened = opener.open(purpose, &message(&vector.message_key), &sealed);
        let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(STANDARD.encode(opened.expose()), vector.body_base64, "{}", vector.name);
    }
}

#[test]
fn the_vectors_cover_both_makers_every_key_and_both_purposes() {
    let file = file();
    let covered: BTreeSet<_> =
        file.vectors.iter().map(|v| (v.made_by.as_str(), v.key.as_str(), v.purpose.as_str())).collect();
    let makers: BTreeSet<_> = file.vectors.iter().map(|v| v.made_by.as_str()).collect();
    assert_eq!(makers.len(), 2);
    for maker in makers {
        for key in file.keys.keys() {
            assert!(covered.contains(&(maker, key.as_str(), "quarantine")), "{maker} {key}");
        }
        assert!(covered.contains(&(maker, "x25519", "vault")), "{maker}");
    }
    let names: BTreeSet<_> = file.vectors.iter().map(|v| &v.name).collect();
    assert_eq!(names.len(), file.vectors.len());
}

#[test]
fn every_value_of_the_vault_opens() {
    for vector in &file().vault {
        let pair = KeyPair::from_text(&file().key(&vector.key).private).unwrap();
        let data_key = SealedDataKey {
            id: hex::decode(&vector.data_key_id_hex).unwrap().try_into().unwrap(),
            recipient_id: pair.recipient().id().to_string().into(),
            bytes: STANDARD.decode(&vector.data_key_base64).unwrap().into(),
        };
        let mask = hex::decode(&vector.mask_hex).unwrap().try_into().unwrap();
        let ciphertext = STANDARD.decode(&vector.ciphertext_base64).unwrap();
        let mask_key_id = KeyId::new(vector.mask_key_id);
        let opened = VaultOpener::new(pair).open(&data_key, &vector.field, &mask, mask_key_id, &ciphertext);
        let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(*opened.expose(), vector.value, "{}", vector.name);
    }
}

#[test]
fn the_values_of_the_vault_cover_both_makers_and_every_key() {
    let file = file();
    let covered: BTreeSet<_> = file.vault.iter().map(|v| (v.made_by.as_str(), v.key.as_str())).collect();
    assert_eq!(covered.len(), 2 * file.keys.len());
    let names: BTreeSet<_> = file.vault.iter().map(|v| &v.name).collect();
    assert_eq!(names.len(), file.vault.len());
}

#[test]
fn the_keys_texts_and_ids_are_those_of_the_other_implementation() {
    for (name, key) in &file().keys {
        let pair = KeyPair::from_text(&key.private).unwrap();
        assert_eq!(pair.recipient().id().to_string(), key.recipient_id, "{name}");
        assert_eq!(pair.recipient().to_text(), key.public, "{name}");
        assert_eq!(*pair.to_private_text().unwrap(), key.private, "{name}");
        assert_eq!(Recipient::from_text(&key.public).unwrap().id(), pair.recipient().id(), "{name}");
    }
}
