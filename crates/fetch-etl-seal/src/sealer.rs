//! Sealing: one data key for a while, wrapped once, and every body under it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{Aad as AeadData, RandomizedNonceKey};
use fetch_etl_core::{MessageKey, Pii, SealError, SealedBody, Sealer};
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::data_key::{DataKey, WrappedKey};
use crate::envelope::{NONCE_BYTES, Prefix, TAG_BYTES};
use crate::{KeyError, Purpose, Recipient};

/// A data key seals for ten minutes at most, so that what a look into the worker's memory gives away is bounded.
pub const MAX_DATA_KEY_AGE: Duration = Duration::from_secs(600);

/// A data key seals about a million bodies at most.
///
/// Nonces are 96 random bits, for which NIST SP 800-38D allows 2³² seals with one key, at a chance of 2⁻³² that two
/// collide. With 2²⁰ the chance is 2⁻⁵⁷; and bodies of 1 MiB make 2³⁶ blocks, far from the 2⁶⁴ at which GCM itself
/// wears out. It costs one more wrapped key per million bodies.
pub const MAX_SEALS_PER_DATA_KEY: u32 = 1 << 20;

/// When a data key has done its work.
#[derive(Clone, Copy)]
struct Limits {
    age: Duration,
    seals: u32,
}

const LIMITS: Limits = Limits { age: MAX_DATA_KEY_AGE, seals: MAX_SEALS_PER_DATA_KEY };

type Clock = Box<dyn Fn() -> Instant + Send + Sync>;

/// Seals bodies to a [`Recipient`], and cannot open what it sealed.
///
/// Thread-safe. One seal costs an allocation and AES-256-GCM over the body; the expensive wrapping of a data key
/// happens once in ten minutes, or in about a million seals, or never if nothing is sealed.
pub struct EnvelopeSealer {
    recipient: Recipient,
    recipient_id: Box<str>,
    purpose: Purpose,
    limits: Limits,
    clock: Clock,
    current: Mutex<Option<Current>>,
}

struct Current {
    key: Arc<ActiveKey>,
    made_at: Instant,
    seals: u32,
}

/// A data key ready for use. aws-lc zeroizes it when the last seal under it is done.
struct ActiveKey {
    cipher: RandomizedNonceKey,
    prefix: Prefix,
}

impl EnvelopeSealer {
    /// Seals to this recipient, for this purpose.
    pub fn new(recipient: Recipient, purpose: Purpose) -> Self {
        Self::with(recipient, purpose, LIMITS, Box::new(Instant::now))
    }

    fn with(recipient: Recipient, purpose: Purpose, limits: Limits, clock: Clock) -> Self {
        let recipient_id = recipient.id().to_string().into();
        Self { recipient, recipient_id, purpose, limits, clock, current: Mutex::new(None) }
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
        let now = (self.clock)();
        let mut current = self.lock();
        let expired = current.as_ref().is_some_and(|key| self.is_expired(key, now));
        if expired {
            *current = None;
        }
        expired
    }

    fn is_expired(&self, key: &Current, now: Instant) -> bool {
        now.saturating_duration_since(key.made_at) >= self.limits.age
    }

    /// The lock guards nothing that a panic could leave half-done.
    fn lock(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data key for one more seal, a new one if the old one has done its work.
    fn active_key(&self) -> Result<Arc<ActiveKey>, SealError> {
        let now = (self.clock)();
        let mut current = self.lock();
        if let Some(key) = current.as_mut()
            && key.seals < self.limits.seals
            && !self.is_expired(key, now)
        {
            key.seals += 1;
            return Ok(Arc::clone(&key.key));
        }
        // Before a new one is made: if that fails, the old one must be gone all the same.
        *current = None;
        let key = Arc::new(self.new_key()?);
        *current = Some(Current { key: Arc::clone(&key), made_at: now, seals: 1 });
        Ok(key)
    }

    fn new_key(&self) -> Result<ActiveKey, SealError> {
        let key = DataKey::generate().ok_or(SealError("the system gave no random numbers"))?;
        let wrapped = self.recipient.wrap(self.purpose, &key).map_err(|error| match error {
            KeyError::NoRandomness => SealError("the system gave no random numbers"),
            _ => SealError("the data key cannot be wrapped for the recipient"),
        })?;
        let wrapped =
            WrappedKey { algorithm: self.recipient.algorithm(), purpose: self.purpose, bytes: &wrapped };
        let prefix = Prefix::new(wrapped, self.recipient.id())
            .ok_or(SealError("the wrapped data key is longer than an envelope holds"))?;
        let cipher = key.cipher().ok_or(SealError("the data key cannot be set up"))?;
        Ok(ActiveKey { cipher, prefix })
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
        let body_at = prefix.len() + NONCE_BYTES;
        // Room for all of it at once, because a vector that grows leaves copies behind; and zeroizing, because it
        // holds the body in clear until it is encrypted in place.
        let mut out = Zeroizing::new(Vec::with_capacity(body_at + body.len() + TAG_BYTES));
        out.extend_from_slice(prefix);
        out.extend_from_slice(&[0; NONCE_BYTES]);
        out.extend_from_slice(body);
        let (front, in_out) = out.split_at_mut(body_at);
        let aad = Aad::new(self.prefix.header()).message_key(key.as_str());
        let (nonce, tag) = self
            .cipher
            .seal_in_place_separate_tag(AeadData::from(aad), in_out)
            .map_err(|_| SealError("encryption failed"))?;
        let (_, nonce_at) = front.split_at_mut(prefix.len());
        nonce_at.copy_from_slice(nonce.as_ref());
        out.extend_from_slice(tag.as_ref());
        Ok(std::mem::take(&mut *out))
    }
}

impl fmt::Debug for EnvelopeSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnvelopeSealer({:?}, {})", self.recipient, self.purpose)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use fetch_etl_core::KeyOrigin;

    use super::*;
    use crate::envelope::Envelope;
    use crate::{KeyPair, Opener};

    /// A sealer whose clock stands still until it is told otherwise.
    struct Rig {
        sealer: EnvelopeSealer,
        seconds: Arc<AtomicU64>,
        pair: Arc<KeyPair>,
    }

    fn rig(limits: Limits) -> Rig {
        let pair = Arc::new(KeyPair::generate().unwrap());
        let seconds = Arc::new(AtomicU64::new(0));
        let (start, now) = (Instant::now(), Arc::clone(&seconds));
        let clock = Box::new(move || start + Duration::from_secs(now.load(Ordering::SeqCst)));
        let sealer = EnvelopeSealer::with(pair.recipient().clone(), Purpose::Quarantine, limits, clock);
        Rig { sealer, seconds, pair }
    }

    fn message(text: &str) -> MessageKey {
        MessageKey::new(text, KeyOrigin::MessageId)
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
            Envelope::parse(&sealed).unwrap().wrapped.bytes().to_vec()
        }

        fn at(&self, seconds: u64) {
            self.seconds.store(seconds, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_data_key_lives_for_ten_minutes_and_no_longer() {
        let rig = rig(LIMITS);
        let first = rig.wrapped_key();
        rig.at(599);
        assert_eq!(rig.wrapped_key(), first);
        rig.at(600);
        let second = rig.wrapped_key();
        assert_ne!(second, first);
        rig.at(1199);
        assert_eq!(rig.wrapped_key(), second, "its age counts from its own making");
        rig.at(1200);
        assert_ne!(rig.wrapped_key(), second);
    }

    #[test]
    fn a_data_key_seals_so_often_and_no_more() {
        let rig = rig(Limits { seals: 3, ..LIMITS });
        let keys: Vec<_> = (0..7).map(|_| rig.wrapped_key()).collect();
        assert!(keys[0] == keys[1] && keys[1] == keys[2]);
        assert!(keys[3] == keys[4] && keys[4] == keys[5]);
        assert!(keys[2] != keys[3] && keys[5] != keys[6]);
    }

    #[test]
    fn a_clock_that_steps_back_keeps_the_key() {
        let rig = rig(LIMITS);
        rig.at(700);
        let first = rig.wrapped_key();
        rig.at(100);
        assert_eq!(rig.wrapped_key(), first);
    }

    #[test]
    fn an_expired_key_can_be_forgotten_without_a_seal() {
        let rig = rig(LIMITS);
        assert!(!rig.sealer.forget_expired(), "there is none yet");
        let first = rig.wrapped_key();
        rig.at(599);
        assert!(!rig.sealer.forget_expired());
        assert_eq!(rig.wrapped_key(), first);
        let held = Arc::downgrade(&rig.sealer.lock().as_ref().unwrap().key);
        rig.at(600);
        assert!(rig.sealer.forget_expired());
        assert!(held.upgrade().is_none(), "nothing holds the key any more");
        assert!(!rig.sealer.forget_expired());
    }

    #[test]
    fn rotation_frees_the_old_key() {
        let rig = rig(LIMITS);
        rig.seal(b"one");
        let old = Arc::downgrade(&rig.sealer.lock().as_ref().unwrap().key);
        rig.at(600);
        rig.seal(b"two");
        assert!(old.upgrade().is_none());
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
            let envelope = Envelope::parse(bytes).unwrap();
            *uses.entry(envelope.wrapped.bytes().to_vec()).or_default() += 1;
            assert!(nonces.insert(envelope.nonce));
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
