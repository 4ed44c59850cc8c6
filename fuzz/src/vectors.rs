//! The sealed bodies and keys that the seal crate keeps for its tests.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) keys: BTreeMap<String, KeyTexts>,
    pub(crate) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
pub(crate) struct KeyTexts {
    pub(crate) public: String,
    pub(crate) private: String,
}

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) key: String,
    pub(crate) purpose: String,
    pub(crate) message_key: String,
    body_base64: String,
    sealed_base64: String,
}

impl Vector {
    pub(crate) fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body_base64).expect("a body in base64")
    }

    pub(crate) fn sealed(&self) -> Vec<u8> {
        STANDARD.decode(&self.sealed_base64).expect("a sealed body in base64")
    }
}

pub(crate) static VECTORS: LazyLock<Vectors> = LazyLock::new(|| {
    let text = include_str!("../../crates/fetch-etl-seal/tests/vectors.json");
    serde_json::from_str(text).expect("the seal crate's vectors")
});
