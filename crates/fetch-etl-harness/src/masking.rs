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
    /// After rotations: masked with each key in turn, the last of which is in force.
    Chain {
        /// The master keys, hexadecimal, whose ids are 1, 2, …
        keys_hex: Vec<String>,
        /// Whether the first step is plain SHA-512, with the id 0.
        begins_plain: bool,
        /// The domain.
        domain: String,
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
        let (ring, domain) = match self {
            Self::Sha512 => return Vec::new(),
            Self::Hmac { key_hex, domain, key_id: 1 } => (STANDARD.encode(bytes_of_hex(key_hex)), domain),
            Self::Hmac { key_hex, domain, key_id } => {
                (format!("{key_id}:{}", STANDARD.encode(bytes_of_hex(key_hex))), domain)
            }
            Self::Chain { keys_hex, begins_plain, domain } => {
                let plain = begins_plain.then(|| "0:sha512".to_owned());
                let keys = (1..)
                    .zip(keys_hex)
                    .map(|(id, key): (i32, _)| format!("{id}:{}", STANDARD.encode(bytes_of_hex(key))));
                (plain.into_iter().chain(keys).collect::<Vec<_>>().join("\n"), domain)
            }
        };
        vec![("ETL_MASKING__KEY".into(), ring), ("ETL_MASKING__DOMAIN".into(), domain.clone())]
    }

    /// The keys of `fixtures/mask-vectors.json`, the second after the first.
    pub fn rotated() -> Self {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../fixtures/mask-vectors.json"))
                .expect("the fixture is valid");
        let key = |text: &serde_json::Value| text.as_str().expect("the vectors have two keys").to_owned();
        let keys_hex = vec![key(&vectors["key_hex"]), key(&vectors["rotation"]["key2_hex"])];
        Self::Chain { keys_hex, begins_plain: false, domain: "default".into() }
    }
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}
