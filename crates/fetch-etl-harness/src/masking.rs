use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How the worker under test is told to mask.
#[derive(Debug, Clone)]
pub enum Masking {
    /// Plain SHA-512.
    Sha512,
    /// HMAC-SHA-512, version 1.
    Hmac {
        /// The master key, hexadecimal.
        key_hex: String,
        /// The domain.
        domain: String,
        /// What stands beside each row.
        key_id: i32,
    },
}

impl Masking {
    /// With the key of `fixtures/mask-vectors.json`, so that masks can be looked up there, too.
    pub fn keyed() -> Self {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/mask-vectors.json"))
                .expect("the fixture is valid");
        let key_hex = vectors["key_hex"].as_str().expect("the vectors have a key").to_owned();
        Self::Hmac { key_hex, domain: "default".into(), key_id: 1 }
    }

    /// What a worker needs in its environment to mask like that.
    pub fn worker_environment(&self) -> Vec<(String, String)> {
        let Self::Hmac { key_hex, domain, .. } = self else { return Vec::new() };
        vec![
            ("ETL_MASKING__KEY".into(), STANDARD.encode(bytes_of_hex(key_hex))),
            ("ETL_MASKING__DOMAIN".into(), domain.clone()),
        ]
    }
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}
