//! The data key in use: how long, how often, and when the next one is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{Aad as AeadData, RandomizedNonceKey};
use fetch_etl_core::SealError;
use zeroize::Zeroizing;

use crate::aad::Aad;
use crate::data_key::{DataKey, WrappedKey};
use crate::envelope::{NONCE_BYTES, Place, Prefix};
use crate::{KeyError, Purpose, Recipient};

/// A data key seals for ten minutes at most, so that what a look into the worker's memory gives away is bounded.
pub const MAX_DATA_KEY_AGE: Duration = Duration::from_secs(600);

/// A data key seals about a million bodies or values at most.
///
/// Nonces are 96 random bits, for which NIST SP 800-38D allows 2³² seals with one key, at a chance of 2⁻³² that two
/// collide. With 2²⁰ the chance is 2⁻⁵⁷; and bodies of 1 MiB make 2³⁶ blocks, far from the 2⁶⁴ at which GCM itself
/// wears out. It costs one more wrapped key per million bodies.
pub const MAX_SEALS_PER_DATA_KEY: u32 = 1 << 20;

/// When a data key has done its work.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) age: Duration,
    pub(crate) seals: u32,
}

pub(crate) const LIMITS: Limits = Limits { age: MAX_DATA_KEY_AGE, seals: MAX_SEALS_PER_DATA_KEY };

pub(crate) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Keeps one data key for a while; `K` is the key as its sealer uses it.
pub(crate) struct CurrentKey<K> {
    limits: Limits,
    clock: Clock,
    current: Mutex<Option<Current<K>>>,
}

struct Current<K> {
    key: Arc<K>,
    made_at: Instant,
    seals: u32,
}

impl<K> CurrentKey<K> {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        Self { limits, clock, current: Mutex::new(None) }
    }

    /// The data key for one more seal, a new one if the old one has done its work. Who needs a new one waits for it, and so do
    /// the others: otherwise each would make its own.
    pub(crate) fn for_one_seal(
        &self,
        make: impl FnOnce() -> Result<K, SealError>,
    ) -> Result<Arc<K>, SealError> {
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
        let key = Arc::new(make()?);
        *current = Some(Current { key: Arc::clone(&key), made_at: now, seals: 1 });
        Ok(key)
    }

    /// Forgets the key if its time is over; says if it did.
    pub(crate) fn forget_expired(&self) -> bool {
        let now = (self.clock)();
        let mut current = self.lock();
        let expired = current.as_ref().is_some_and(|key| self.is_expired(key, now));
        if expired {
            *current = None;
        }
        expired
    }

    fn is_expired(&self, key: &Current<K>, now: Instant) -> bool {
        now.saturating_duration_since(key.made_at) >= self.limits.age
    }

    /// The lock guards nothing that a panic could leave half-done.
    fn lock(&self) -> MutexGuard<'_, Option<Current<K>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> Option<Arc<K>> {
        self.lock().as_ref().map(|current| Arc::clone(&current.key))
    }
}

/// Makes a data key: ready for use, and wrapped for its recipient. aws-lc zeroizes what it holds of it when it is dropped.
pub(crate) fn new_data_key(
    recipient: &Recipient,
    purpose: Purpose,
    place: Place,
) -> Result<(RandomizedNonceKey, Prefix), SealError> {
    let key = DataKey::generate().ok_or(SealError("the system gave no random numbers"))?;
    let wrapped = recipient.wrap(purpose, &key).map_err(|error| match error {
        KeyError::NoRandomness => SealError("the system gave no random numbers"),
        _ => SealError("the data key cannot be wrapped for the recipient"),
    })?;
    let wrapped = WrappedKey { algorithm: recipient.algorithm(), purpose, bytes: &wrapped };
    let prefix = Prefix::new(place, wrapped, recipient.id())
        .ok_or(SealError("the wrapped data key is longer than its length field holds"))?;
    let cipher = key.cipher().ok_or(SealError("the data key cannot be set up"))?;
    Ok((cipher, prefix))
}

/// Encrypts all that stands behind the nonce, whose place is left free for it at `nonce_at`, and appends the tag.
///
/// `out` needs room for all of it beforehand, because a vector that grows leaves copies behind; and is zeroizing, because it
/// holds the plaintext until it is encrypted in place.
pub(crate) fn encrypt_in_place(
    cipher: &RandomizedNonceKey,
    mut out: Zeroizing<Vec<u8>>,
    nonce_at: usize,
    aad: Aad,
) -> Result<Vec<u8>, SealError> {
    let plain_at = nonce_at + NONCE_BYTES;
    let (front, in_out) =
        out.split_at_mut_checked(plain_at).ok_or(SealError("there is no room for the nonce"))?;
    let (nonce, tag) = cipher
        .seal_in_place_separate_tag(AeadData::from(aad), in_out)
        .map_err(|_| SealError("encryption failed"))?;
    let (_, nonce_place) = front.split_at_mut(nonce_at);
    nonce_place.copy_from_slice(nonce.as_ref());
    out.extend_from_slice(tag.as_ref());
    Ok(std::mem::take(&mut *out))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A clock that stands still until it is told otherwise.
    #[derive(Clone, Default)]
    pub(crate) struct Seconds(Arc<AtomicU64>);

    impl Seconds {
        pub(crate) fn set(&self, seconds: u64) {
            self.0.store(seconds, Ordering::SeqCst);
        }

        pub(crate) fn clock(&self) -> Clock {
            let (start, now) = (Instant::now(), Arc::clone(&self.0));
            Arc::new(move || start + Duration::from_secs(now.load(Ordering::SeqCst)))
        }
    }

    /// Keys that are numbered in the order of their making.
    struct Rig {
        keys: CurrentKey<u32>,
        clock: Seconds,
        made: std::cell::Cell<u32>,
    }

    fn rig(limits: Limits) -> Rig {
        let clock = Seconds::default();
        Rig { keys: CurrentKey::new(limits, clock.clock()), clock, made: std::cell::Cell::new(0) }
    }

    impl Rig {
        fn key(&self) -> u32 {
            let make = || {
                self.made.set(self.made.get() + 1);
                Ok(self.made.get())
            };
            *self.keys.for_one_seal(make).unwrap()
        }
    }

    #[test]
    fn a_data_key_lives_for_ten_minutes_and_no_longer() {
        let rig = rig(LIMITS);
        assert_eq!(rig.key(), 1);
        rig.clock.set(599);
        assert_eq!(rig.key(), 1);
        rig.clock.set(600);
        assert_eq!(rig.key(), 2);
        rig.clock.set(1199);
        assert_eq!(rig.key(), 2, "its age counts from its own making");
        rig.clock.set(1200);
        assert_eq!(rig.key(), 3);
    }

    #[test]
    fn a_data_key_seals_so_often_and_no_more() {
        let rig = rig(Limits { seals: 3, ..LIMITS });
        assert_eq!([(); 7].map(|()| rig.key()), [1, 1, 1, 2, 2, 2, 3]);
    }

    #[test]
    fn a_clock_that_steps_back_keeps_the_key() {
        let rig = rig(LIMITS);
        rig.clock.set(700);
        assert_eq!(rig.key(), 1);
        rig.clock.set(100);
        assert_eq!(rig.key(), 1);
    }

    #[test]
    fn an_expired_key_can_be_forgotten_without_a_seal() {
        let rig = rig(LIMITS);
        assert!(!rig.keys.forget_expired(), "there is none yet");
        rig.key();
        rig.clock.set(599);
        assert!(!rig.keys.forget_expired());
        let held = Arc::downgrade(&rig.keys.held().unwrap());
        rig.clock.set(600);
        assert!(rig.keys.forget_expired());
        assert!(held.upgrade().is_none(), "nothing holds the key any more");
        assert!(!rig.keys.forget_expired());
        assert_eq!(rig.key(), 2);
    }

    #[test]
    fn the_old_key_is_gone_even_if_no_new_one_can_be_made() {
        let rig = rig(LIMITS);
        rig.key();
        rig.clock.set(600);
        assert_eq!(rig.keys.for_one_seal(|| Err(SealError("no"))), Err(SealError("no")));
        assert!(rig.keys.held().is_none());
        assert_eq!(rig.key(), 2);
    }
}
