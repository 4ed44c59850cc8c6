//! Sealing bodies: one data key for a while, wrapped once, and every body under it.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::RandomizedNonceKey;
use fetch_etl_core::{MessageKey, Pii, SealError, SealedBody, Sealer};
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::current_key::{Clock, CurrentKey, LIMITS, Limits, encrypt_in_place, new_data_key};
use crate::envelope::{NONCE_BYTES, Place, Prefix, TAG_BYTES};
use crate::{Purpose, Recipient};

/// Seals bodies to a [`Recipient`], and cannot open what it sealed.
///
/// Thread-safe. One seal costs an allocation and AES-256-GCM over the body; the expensive wrapping of a data key
/// happens once in ten minutes, or in about a million seals, or never if nothing is sealed.
pub struct EnvelopeSealer {
    recipient: Recipient,
    recipient_id: Box<str>,
    purpose: Purpose,
    keys: CurrentKey<ActiveKey>,
}

/// A data key ready for use. aws-lc zeroizes it when the last seal under it is done.
struct ActiveKey {
    cipher: RandomizedNonceKey,
    prefix: Prefix,
}

impl EnvelopeSealer {
    /// Seals to this recipient, for this purpose.
    pub fn new(recipient: Recipient, purpose: Purpose) -> Self {
        Self::with(recipient, purpose, LIMITS, Arc::new(Instant::now))
    }

    fn with(recipient: Recipient, purpose: Purpose, limits: Limits, clock: Clock) -> Self {
        let recipient_id = recipient.id().to_string().into();
        Self { recipient, recipient_id, purpose, keys: CurrentKey::new(limits, clock) }
    }

    /// Who can open what this seals.
    pub fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Forgets the data key if its ten minutes are over; says if it did.
    ///
    /// [`seal`](Sealer::seal) never uses such a key, but a worker that meets no bad message for hours would keep it in
    /// memory for hours. Call this now and then, from whatever timer there is.
    pub fn forget_expired(&self) -> bool {
        self.keys.forget_expired()
    }

    fn active_key(&self) -> Result<Arc<ActiveKey>, SealError> {
        self.keys.for_one_seal(|| {
            let (cipher, prefix) = new_data_key(&self.recipient, self.purpose, Place::BesideBody)?;
            Ok(ActiveKey { cipher, prefix })
        })
    }
}

impl Sealer for EnvelopeSealer {
    fn seal(&self, key: &MessageKey, body: &Pii<[u8]>) -> Result<SealedBody, SealError> {
        let sealed = self.active_key()?.seal(key, body)?;
        Ok(SealedBody::new(self.recipient_id.clone(), sealed))
    }
}

impl ActiveKey {
    fn seal(&self, key: &MessageKey, body: &Pii<[u8]>) -> Result<Vec<u8>, SealError> {
        let (prefix, body) = (self.prefix.bytes(), body.expose());
        let length = prefix.len() + NONCE_BYTES + body.len() + TAG_BYTES;
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        out.extend_from_slice(prefix);
        out.extend_from_slice(&[0; NONCE_BYTES]);
        out.extend_from_slice(body);
        let aad = Aad::new(self.prefix.header()).message_key(key.as_str());
        encrypt_in_place(&self.cipher, out, prefix.len(), aad)
    }
}

impl fmt::Debug for EnvelopeSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvelopeSealer({:?}, {})", self.recipient, self.purpose)
    }
}

#[cfg(test)]
mod tests {
    use fetch_etl_core::KeyOrigin;

    use super::*;
    use crate::current_key::tests::Seconds;
    use crate::envelope::{Encrypted, ParsedPrefix};
    use crate::{KeyPair, Opener};

    struct Rig {
        sealer: EnvelopeSealer,
        clock: Seconds,
        pair: Arc<KeyPair>,
    }

    fn rig(limits: Limits) -> Rig {
        let pair = Arc::new(KeyPair::generate().unwrap());
        let clock = Seconds::default();
        let sealer =
            EnvelopeSealer::with(pair.recipient().clone(), Purpose::Quarantine, limits, clock.clock());
        Rig { sealer, clock, pair }
    }

    fn message(text: &str) -> MessageKey {
        MessageKey::new(text, KeyOrigin::MessageId)
    }

    fn parse(sealed: &[u8]) -> (Vec<u8>, [u8; NONCE_BYTES]) {
        let (prefix, rest) = ParsedPrefix::parse(Place::BesideBody, sealed).unwrap();
        (prefix.wrapped.bytes().to_vec(), Encrypted::parse(rest).unwrap().nonce)
    }

    impl Rig {
        fn seal(&self, body: &[u8]) -> Vec<u8> {
            self.sealer.seal(&message("m-1"), Pii::wrap(body)).unwrap().bytes().to_vec()
        }

        /// Bytes that tell one data key from another.
        fn wrapped_key(&self) -> Vec<u8> {
            let sealed = self.seal(b"body");
            let opened =
                Opener::new(Arc::clone(&self.pair)).open(Purpose::Quarantine, &message("m-1"), &sealed);
            assert_eq!(opened.unwrap().expose(), b"body");
            parse(&sealed).0
        }
    }

    #[test]
    fn a_data_key_lives_for_ten_minutes_and_is_wrapped_once() {
        let rig = rig(LIMITS);
        let first = rig.wrapped_key();
        let held = Arc::downgrade(&rig.sealer.keys.held().unwrap());
        rig.clock.set(599);
        assert_eq!(rig.wrapped_key(), first);
        rig.clock.set(600);
        assert_ne!(rig.wrapped_key(), first);
        assert!(held.upgrade().is_none(), "the next one frees the old one");
    }

    #[test]
    fn an_expired_key_can_be_forgotten_without_a_seal() {
        let rig = rig(LIMITS);
        rig.seal(b"body");
        assert!(!rig.sealer.forget_expired());
        rig.clock.set(600);
        assert!(rig.sealer.forget_expired());
    }

    #[test]
    fn many_threads_share_data_keys_and_never_exceed_the_cap() {
        const CAP: u32 = 50;
        let rig = rig(Limits { seals: CAP, ..LIMITS });
        let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).map(|_| rig.seal(b"body")).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut uses = std::collections::HashMap::<_, u32>::new();
        let mut nonces = std::collections::HashSet::new();
        for bytes in &sealed {
            let (wrapped, nonce) = parse(bytes);
            *uses.entry(wrapped).or_default() += 1;
            assert!(nonces.insert(nonce));
        }
        assert_eq!(uses.into_values().collect::<Vec<_>>(), [CAP; 8], "each key is used up before the next");
    }

    #[test]
    fn sealed_bytes_never_needed_to_grow() {
        let rig = rig(LIMITS);
        let key = rig.sealer.active_key().unwrap();
        for length in [0, 1, 1000, 1 << 20] {
            let out = key.seal(&message("m"), Pii::wrap(vec![7; length].as_slice())).unwrap();
            assert_eq!(out.len(), key.prefix.bytes().len() + NONCE_BYTES + length + TAG_BYTES);
            assert_eq!(out.capacity(), out.len());
        }
    }
}
