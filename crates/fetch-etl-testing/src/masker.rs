use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};

/// A masker for tests: deterministic, of the shape of a real mask, and worthless as protection.
///
/// ```
/// use fetch_etl_core::{Masker, Pii};
/// use fetch_etl_testing::FakeMasker;
///
/// let mask = |field, value: &str| FakeMasker.mask(field, Pii::wrap(value)).unwrap().to_text();
/// assert_eq!(mask("ip", "203.0.113.7").len(), 128);
/// assert_eq!(mask("ip", "203.0.113.7"), mask("ip", "203.0.113.7"));
/// assert_ne!(mask("ip", "203.0.113.7"), mask("device_id", "203.0.113.7"));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeMasker;

impl FakeMasker {
    /// The key id of its masks: none that a configuration would choose.
    pub const KEY_ID: KeyId = KeyId::new(9_999);
}

impl Masker for FakeMasker {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        let mut digest = [0; 64];
        for (lane, chunk) in (0_u8..).zip(digest.chunks_exact_mut(8)) {
            // FNV-1a, started elsewhere for each lane; the byte between field and value keeps them apart.
            let bytes = field.bytes().chain([0xff]).chain(value.expose().bytes());
            let start = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(lane);
            let hash = bytes.fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
            chunk.copy_from_slice(&hash.to_be_bytes());
        }
        Some(MaskedValue::from_digest(digest))
    }

    fn key_id(&self) -> KeyId {
        Self::KEY_ID
    }
}
