use std::fmt;

use fetch_etl_core::{KeyId, MaskedValue, Remask};

use crate::HmacSha512Masker;

/// Brings stored masks up to a newer key, without their values. Made by a [`MaskPlan`](crate::MaskPlan).
pub struct Remasker {
    /// The oldest masks that it knows.
    first: KeyId,
    /// The keys up to the newest, oldest first.
    steps: Vec<(KeyId, HmacSha512Masker)>,
    fields: Vec<Box<str>>,
}

/// What cannot be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAMask {
    /// It is not 128 lower-case hexadecimal characters.
    #[error("it is not a mask of 128 lower-case hexadecimal characters")]
    Form,
    /// It was made with a key that is not among those of the key ring, or a newer one.
    #[error("it was made with key {0}, which is not among the keys before this one")]
    Key(i32),
}

impl Remasker {
    pub(crate) fn new(first: KeyId, steps: Vec<(KeyId, HmacSha512Masker)>, fields: Vec<Box<str>>) -> Self {
        Self { first, steps, fields }
    }

    /// The mask that the same value has with the newest key.
    ///
    /// # Errors
    /// It is no mask, or of a key that is not one of those before.
    pub fn try_remask(&self, field: &str, mask: &str, made_with: KeyId) -> Result<MaskedValue, NotAMask> {
        if !self.origins().contains(&made_with) {
            return Err(NotAMask::Key(made_with.get()));
        }
        let digest = parse(mask).ok_or(NotAMask::Form)?;
        let later = self.steps.iter().filter(|(id, _)| *id > made_with);
        Ok(MaskedValue::from_digest(later.fold(digest, |digest, (_, step)| step.remask(field, &digest))))
    }
}

impl Remask for Remasker {
    fn target(&self) -> KeyId {
        self.steps.last().map_or(self.first, |(id, _)| *id)
    }

    fn origins(&self) -> Vec<KeyId> {
        let all = std::iter::once(self.first).chain(self.steps.iter().map(|(id, _)| *id));
        let target = self.target();
        let mut origins: Vec<_> = all.filter(|id| *id != target).collect();
        origins.dedup();
        origins
    }

    fn concerns(&self, field: &str) -> bool {
        self.fields.iter().any(|name| **name == *field)
    }

    fn remask(&self, field: &str, mask: &str, made_with: KeyId) -> Option<MaskedValue> {
        self.try_remask(field, mask, made_with).ok()
    }
}

fn parse(mask: &str) -> Option<[u8; 64]> {
    let nibble = |character: u8| match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    };
    let mut digest = [0; 64];
    if mask.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(mask.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(digest)
}

impl fmt::Debug for Remasker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remasker").field("target", &self.target()).finish_non_exhaustive()
    }
}
