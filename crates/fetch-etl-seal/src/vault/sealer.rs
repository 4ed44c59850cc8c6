//! Sealing values: one data key for a while, wrapped once, and every value under it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::RandomizedNonceKey;
use aws_lc_rs::rand;
use fetch_etl_core::{KeyId, MaskedValue, Pii, SealError, SealedDataKey, Vault, VaultEntry};

use super::known::Known;
use super::value;
use crate::aad::ValueId;
use crate::current_key::{Clock, CurrentKey, LIMITS, Limits, new_data_key};
use crate::envelope::Place;
use crate::{Purpose, Recipient};

/// Seals first-seen values to a [`Recipient`], and cannot open what it sealed.
///
/// What is sealed is the text exactly as it was sent. Where several texts have one mask, such as the spellings of one IPv6
/// address, the vault keeps the one that came first.
///
/// A value is sealed again until [`stored`](Vault::stored) says that the vault has it; then it is known, and costs a look-up,
/// until it is pushed out by others or [`MAX_KNOWN_AGE`](crate::MAX_KNOWN_AGE) has passed. To seal one costs two allocations
/// and AES-256-GCM over a block of 64 bytes; the expensive wrapping of a data key happens once in ten minutes or in about a
/// million seals.
pub struct VaultSealer {
    recipient: Recipient,
    recipient_id: Box<str>,
    /// All fields, where there is no list.
    fields: Option<Box<[Box<str>]>>,
    keys: CurrentKey<ValueKey>,
    known: Known,
}

/// A data key ready for use. aws-lc zeroizes it when the last seal under it is done.
struct ValueKey {
    cipher: RandomizedNonceKey,
    sealed: Arc<SealedDataKey>,
}

impl VaultSealer {
    /// Seals to this recipient, and remembers so many values that the vault has: some 80 bytes each.
    pub fn new(recipient: Recipient, cache_values: usize) -> Self {
        Self::with(recipient, cache_values, LIMITS, Arc::new(Instant::now))
    }

    fn with(recipient: Recipient, cache_values: usize, limits: Limits, clock: Clock) -> Self {
        Self {
            recipient_id: recipient.id().to_string().into(),
            recipient,
            fields: None,
            keys: CurrentKey::new(limits, Arc::clone(&clock)),
            known: Known::new(cache_values, clock),
        }
    }

    /// Seals the values of these fields only: those whose masks identify a value. (Where a method gives many values one mask,
    /// the vault would answer with whichever came first.)
    #[must_use]
    pub fn with_fields<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Self {
        self.fields = Some(fields.into_iter().map(Into::into).collect());
        self
    }

    /// Who can open what this seals.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Forgets the data key if its ten minutes are over; says if it did.
    ///
    /// [`seal`](Vault::seal) never uses such a key, but a worker that meets no new value for hours would keep it in memory for
    /// hours. Call this now and then, from whatever timer there is.
    pub fn forget_expired(&self) -> bool {
        self.keys.forget_expired()
    }

    fn takes(&self, field: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.iter().any(|taken| **taken == *field))
    }

    fn new_key(&self) -> Result<ValueKey, SealError> {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(|_| SealError("the system gave no random numbers"))?;
        let (cipher, prefix) = new_data_key(&self.recipient, Purpose::Vault, Place::Alone)?;
        let sealed =
            SealedDataKey { id, recipient_id: self.recipient_id.clone(), bytes: prefix.bytes().into() };
        Ok(ValueKey { cipher, sealed: sealed.into() })
    }
}

impl Vault for VaultSealer {
    fn seal(
        &self,
        field: &str,
        value: &Pii<str>,
        mask: &MaskedValue,
        mask_key_id: KeyId,
    ) -> Result<Option<VaultEntry>, SealError> {
        let Some(digest) = mask.digest().filter(|_| self.takes(field)) else { return Ok(None) };
        if self.known.contains(field, digest) {
            return Ok(None);
        }
        let key = self.keys.for_one_seal(|| self.new_key())?;
        let id = ValueId { field, mask: digest, mask_key_id, data_key_id: &key.sealed.id };
        let ciphertext = value::seal(&key.cipher, id, value)?.into();
        let data_key = Arc::clone(&key.sealed);
        Ok(Some(VaultEntry { field: field.into(), mask: mask.clone(), mask_key_id, data_key, ciphertext }))
    }

    fn stored(&self, entries: &[&VaultEntry]) {
        for entry in entries {
            if let Some(digest) = entry.mask.digest() {
                self.known.insert(&entry.field, digest);
            }
        }
    }
}

impl fmt::Debug for VaultSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VaultSealer({:?})", self.recipient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::current_key::tests::Seconds;
    use crate::{KeyPair, VaultOpener};

    struct Rig {
        sealer: VaultSealer,
        clock: Seconds,
        opener: VaultOpener,
    }

    fn rig(limits: Limits) -> Rig {
        let pair = KeyPair::generate().unwrap();
        let clock = Seconds::default();
        let sealer = VaultSealer::with(pair.recipient().clone(), 1000, limits, clock.clock());
        Rig { sealer, clock, opener: VaultOpener::new(pair) }
    }

    impl Rig {
        fn seal(&self, n: u8) -> Option<VaultEntry> {
            let mask = MaskedValue::from_digest([n; 64]);
            self.sealer.seal("ip", Pii::wrap("203.0.113.7"), &mask, KeyId::new(1)).unwrap()
        }

        fn data_key(&self) -> Arc<SealedDataKey> {
            let entry = self.seal(1).unwrap();
            let opened =
                self.opener.open(&entry.data_key, "ip", &[1; 64], KeyId::new(1), &entry.ciphertext).unwrap();
            assert_eq!(opened.expose(), "203.0.113.7");
            entry.data_key
        }
    }

    #[test]
    fn entries_share_a_data_key_for_ten_minutes() {
        let rig = rig(LIMITS);
        let first = rig.data_key();
        rig.clock.set(599);
        assert!(Arc::ptr_eq(&rig.data_key(), &first));
        rig.clock.set(600);
        let second = rig.data_key();
        assert!(second.id != first.id && second.bytes != first.bytes);
        assert_eq!(second.recipient_id, first.recipient_id);
    }

    #[test]
    fn a_data_key_seals_so_often_and_no_more() {
        let rig = rig(Limits { seals: 2, ..LIMITS });
        let ids = [(); 4].map(|()| rig.data_key().id);
        assert!(ids[0] == ids[1] && ids[1] != ids[2] && ids[2] == ids[3]);
    }

    #[test]
    fn an_expired_key_can_be_forgotten_without_a_seal() {
        let rig = rig(LIMITS);
        rig.data_key();
        let held = Arc::downgrade(&rig.sealer.keys.held().unwrap());
        assert!(!rig.sealer.forget_expired());
        rig.clock.set(600);
        assert!(rig.sealer.forget_expired());
        assert!(held.upgrade().is_none(), "nothing holds the key any more");
    }

    #[test]
    fn a_value_is_sealed_until_it_is_stored_and_again_an_hour_later() {
        let rig = rig(LIMITS);
        let entry = rig.seal(1).unwrap();
        assert!(rig.seal(1).is_some(), "nobody said that it is stored");
        rig.sealer.stored(&[&entry]);
        assert!(rig.seal(1).is_none());
        assert!(rig.seal(2).is_some());
        rig.clock.set(3599);
        assert!(rig.seal(1).is_none());
        rig.clock.set(3600);
        assert!(rig.seal(1).is_some());
    }
}
