//! Associated data: what a ciphertext is bound to beside its key.

use fetch_etl_core::KeyId;

/// Builds associated data as a sequence of fields: tag (1 byte) ‖ length (8 bytes, big-endian) ‖ bytes.
///
/// A reader could take it apart again, so two different sequences of fields never give the same bytes, whatever
/// they contain. A field has a type, not just a place.
pub(crate) struct Aad(Vec<u8>);

/// Names the format, and keeps these ciphertexts apart from those of any other program.
const FORMAT: &[u8] = b"fetch-etl/seal/v1";

/// Names the format of the vault's values.
const VALUE_FORMAT: &[u8] = b"fetch-etl/vault/v1";

/// Where the vault's values stand.
const VAULT_TABLE: &[u8] = b"etl.pii_vault";

/// Enough for a message's key of the 128 characters that the ledger holds, and for a value of the vault; longer ones make it
/// grow.
const ROOM: usize = 192;

#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Format = 1,
    Header = 2,
    MessageKey = 3,
    Table = 4,
    Field = 5,
    Mask = 6,
    MaskKeyId = 7,
    DataKeyId = 8,
}

/// Which value of the vault: the row that it stands in, but for what is encrypted.
#[derive(Clone, Copy)]
pub(crate) struct ValueId<'a> {
    pub(crate) field: &'a str,
    pub(crate) mask: &'a [u8; 64],
    pub(crate) mask_key_id: KeyId,
    pub(crate) data_key_id: &'a [u8; 16],
}

impl Aad {
    /// Starts with the format and an envelope's fixed header: version, place of the data key, algorithm, purpose
    /// and recipient.
    pub(crate) fn new(header: &[u8]) -> Self {
        Self(Vec::with_capacity(ROOM)).with(Tag::Format, FORMAT).with(Tag::Header, header)
    }

    /// Adds the message that a body belongs to.
    ///
    /// Only the key's text: a replayed message carries the same key in an attribute, and it is the same message.
    pub(crate) fn message_key(self, key: &str) -> Self {
        self.with(Tag::MessageKey, key.as_bytes())
    }

    /// For a value of the vault. Its recipient is not among it, so that data keys can be wrapped for a new recipient while the
    /// values stay as they are.
    pub(crate) fn of_value(id: ValueId<'_>) -> Self {
        Self(Vec::with_capacity(ROOM))
            .with(Tag::Format, VALUE_FORMAT)
            .with(Tag::Table, VAULT_TABLE)
            .with(Tag::Field, id.field.as_bytes())
            .with(Tag::Mask, id.mask)
            .with(Tag::MaskKeyId, &id.mask_key_id.get().to_be_bytes())
            .with(Tag::DataKeyId, id.data_key_id)
    }

    fn with(mut self, tag: Tag, bytes: &[u8]) -> Self {
        self.0.push(tag as u8);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
}

impl AsRef<[u8]> for Aad {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes associated data apart again: if that works, no two sequences of fields share their bytes.
    fn take_apart(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut fields = Vec::new();
        while let Some((tag, rest)) = bytes.split_first() {
            let (length, rest) = rest.split_first_chunk::<8>().unwrap();
            let (value, rest) = rest.split_at(usize::try_from(u64::from_be_bytes(*length)).unwrap());
            fields.push((*tag, value.to_vec()));
            bytes = rest;
        }
        fields
    }

    proptest! {
        #[test]
        fn what_goes_in_can_be_read_back(header in proptest::collection::vec(any::<u8>(), 0..32), key in ".{0,200}") {
            let aad = Aad::new(&header).message_key(&key);
            let expected = vec![(1, FORMAT.to_vec()), (2, header), (3, key.into_bytes())];
            prop_assert_eq!(take_apart(aad.as_ref()), expected);
        }
    }

    #[test]
    fn a_values_bytes_are_fixed() {
        let id = ValueId { field: "ip", mask: &[7; 64], mask_key_id: KeyId::new(-2), data_key_id: &[9; 16] };
        let aad = Aad::of_value(id);
        let expected = vec![
            (1, VALUE_FORMAT.to_vec()),
            (4, VAULT_TABLE.to_vec()),
            (5, b"ip".to_vec()),
            (6, vec![7; 64]),
            (7, vec![0xFF, 0xFF, 0xFF, 0xFE]),
            (8, vec![9; 16]),
        ];
        assert_eq!(take_apart(aad.as_ref()), expected);
        assert_eq!(aad.0.capacity(), ROOM, "it never grew");
    }

    #[test]
    fn the_bytes_are_fixed() {
        let aad = Aad::new(&[0xAB; 2]).message_key("k");
        let expected = concat!(
            "01",
            "0000000000000011",
            "66657463682d65746c2f7365616c2f7631", // fetch-etl/seal/v1
            "02",
            "0000000000000002",
            "abab",
            "03",
            "0000000000000001",
            "6b",
        );
        assert_eq!(hex::encode(aad.as_ref()), expected);
    }
}
