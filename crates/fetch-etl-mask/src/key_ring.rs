//! The keys of a data set, as they followed one another.

use std::fmt;

use fetch_etl_core::KeyId;
use zeroize::Zeroizing;

use crate::{MasterKey, MasterKeyError};

/// The first link of a ring whose oldest masks were made without a key.
const PLAIN: &str = "sha512";

/// The keys of a data set, oldest first. A value is masked with the first and its mask with each that follows, up to the one in force:
/// so rows from before a rotation can be brought up to date without their values, and equal values keep equal masks.
///
/// As text it is one key in base64, which has the id 1, or a line for each key: its id, a colon, base64. Ids grow from line to line.
/// Where the oldest masks are plain SHA-512, the first line is `0:sha512`. Empty lines, and what follows a `#`, count as nothing.
///
/// ```
/// use fetch_etl_mask::KeyRing;
///
/// let ring = KeyRing::from_text(
///     "1:pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=   # until 2026-11\n\
///      2:q0mWcVnO4Jt1sXyZ7uKdEhGfRb9aLpQx3TiCjMv5w8U=\n",
/// )?;
/// assert_eq!(ring.key_ids().map(|id| id.get()).collect::<Vec<_>>(), [1, 2]);
/// assert_eq!(format!("{ring:?}"), "KeyRing(1, 2)");
/// # Ok::<(), fetch_etl_mask::KeyRingError>(())
/// ```
pub struct KeyRing {
    // Never empty.
    links: Vec<(KeyId, Link)>,
}

/// What made, or remade, a mask.
pub(crate) enum Link {
    /// SHA-512 without a key; only ever the first.
    Plain,
    /// A key.
    Key(MasterKey),
}

/// Why a text is no [`KeyRing`]. Never holds any of it but ids and line numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key in it.
    #[error("there is no key in it")]
    Empty,
    /// The only key is not usable.
    #[error("{0}")]
    Key(MasterKeyError),
    /// A line's key is not usable.
    #[error("line {line}: {error}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        error: MasterKeyError,
    },
    /// A line does not begin with an id.
    #[error("line {line}: expected ID:KEY, a whole number, a colon, and the key in base64")]
    NoId {
        /// Which line, from 1.
        line: usize,
    },
    /// Ids do not grow.
    #[error("line {line}: the ids of masking keys are greater than 0 and grow from line to line")]
    NotGrowing {
        /// Which line, from 1.
        line: usize,
    },
    /// `sha512` without the id 0, or not on the first line.
    #[error("line {line}: plain SHA-512 can be the first link only, as 0:sha512")]
    PlainNotFirst {
        /// Which line, from 1.
        line: usize,
    },
    /// Two ids have one key: a rotation between them would change nothing that an attacker needs.
    #[error("line {line}: the same key stands in the line before it")]
    Repeated {
        /// Which line, from 1.
        line: usize,
    },
}

impl KeyRing {
    /// A ring of one key.
    ///
    /// # Errors
    /// The id is not greater than 0.
    pub fn of_one(key: MasterKey, key_id: KeyId) -> Result<Self, KeyRingError> {
        if key_id <= KeyId::UNKEYED {
            return Err(KeyRingError::NotGrowing { line: 1 });
        }
        Ok(Self { links: vec![(key_id, Link::Key(key))] })
    }

    /// Reads a ring.
    ///
    /// # Errors
    /// See [`KeyRingError`]; none shows anything of a key.
    pub fn from_text(text: &str) -> Result<Self, KeyRingError> {
        if !text.contains(':') {
            // Comments aside, the text may be one key that is broken into lines.
            let mut key = Zeroizing::new(String::with_capacity(text.len()));
            text.lines().for_each(|line| key.push_str(without_comment(line)));
            if key.is_empty() {
                return Err(KeyRingError::Empty);
            }
            let key = MasterKey::from_base64(&key).map_err(KeyRingError::Key)?;
            return Self::of_one(key, KeyId::new(1));
        }
        let mut ring = Self { links: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let entry = without_comment(line);
            if !entry.is_empty() {
                ring.add(entry, index + 1)?;
            }
        }
        if ring.links.is_empty() { Err(KeyRingError::Empty) } else { Ok(ring) }
    }

    fn add(&mut self, entry: &str, line: usize) -> Result<(), KeyRingError> {
        let (id, key) = entry.split_once(':').ok_or(KeyRingError::NoId { line })?;
        let id = KeyId::new(id.trim().parse().map_err(|_| KeyRingError::NoId { line })?);
        let key = key.trim();
        if key == PLAIN || id == KeyId::UNKEYED {
            if key != PLAIN || id != KeyId::UNKEYED || !self.links.is_empty() {
                return Err(KeyRingError::PlainNotFirst { line });
            }
            self.links.push((id, Link::Plain));
            return Ok(());
        }
        let last = self.links.last().map_or(KeyId::UNKEYED, |(id, _)| *id);
        if id <= last {
            return Err(KeyRingError::NotGrowing { line });
        }
        let key = MasterKey::from_base64(key).map_err(|error| KeyRingError::Line { line, error })?;
        if let Some((_, Link::Key(before))) = self.links.last()
            && before.as_bytes() == key.as_bytes()
        {
            return Err(KeyRingError::Repeated { line });
        }
        self.links.push((id, Link::Key(key)));
        Ok(())
    }

    /// The ids, oldest first; 0 where the ring begins with plain SHA-512.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.links.iter().map(|(id, _)| *id)
    }

    /// The newest key's id.
    pub fn newest(&self) -> KeyId {
        self.links.last().map_or(KeyId::UNKEYED, |(id, _)| *id)
    }

    /// The ids of keys that [look made up](MasterKey::looks_made_up).
    pub fn made_up_keys(&self) -> impl Iterator<Item = KeyId> {
        let made_up = |link: &Link| matches!(link, Link::Key(key) if key.looks_made_up());
        self.links.iter().filter(move |(_, link)| made_up(link)).map(|(id, _)| *id)
    }

    pub(crate) fn links(&self) -> &[(KeyId, Link)] {
        &self.links
    }

    /// Whether the oldest masks were made without a key.
    pub fn begins_plain(&self) -> bool {
        matches!(self.links.first(), Some((_, Link::Plain)))
    }
}

/// A `#` is no character of base64.
fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or_default().trim()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.key_ids().map(|id| id.get().to_string()).collect();
        write!(f, "KeyRing({})", ids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn ids(text: &str) -> Vec<i32> {
        KeyRing::from_text(text).unwrap().key_ids().map(KeyId::get).collect()
    }

    #[test]
    fn one_key_or_a_line_for_each() {
        assert_eq!(ids(A), [1]);
        assert_eq!(ids(&format!("# the key\n{}\n{}\n", &A[..20], &A[20..])), [1]);
        assert_eq!(ids(&format!("3:{A}")), [3]);
        assert_eq!(ids(&format!("\n 1 : {A} # old\r\n\r\n7:{B}\r\n")), [1, 7]);
        assert_eq!(ids(&format!("0:sha512\n1:{A}\n")), [0, 1]);
        assert_eq!(ids("0:sha512"), [0]);
    }

    #[test]
    fn made_up_keys_are_named_by_their_ids() {
        let random = "pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=";
        let ring = KeyRing::from_text(&format!("0:sha512\n1:{A}\n2:{random}\n3:{B}")).unwrap();
        assert_eq!(ring.made_up_keys().map(KeyId::get).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn what_is_no_ring_is_refused_with_its_line_and_without_its_keys() {
        for (text, expected) in [
            (String::new(), "there is no key in it"),
            ("# nothing\n".to_owned(), "there is no key in it"),
            ("# a: comment\n".to_owned(), "there is no key in it"),
            ("hunter2!".to_owned(), "the key is not base64"),
            (
                format!("{A}\n2:{B}"),
                "line 1: expected ID:KEY, a whole number, a colon, and the key in base64",
            ),
            (format!("one:{A}"), "line 1: expected ID:KEY, a whole number, a colon, and the key in base64"),
            (format!("1:{A}\n2:hunter2!"), "line 2: the key is not base64"),
            (format!("1:{A}\n\n2:aHVudGVyMg=="), "line 3: the key has 7 bytes, of at least 32"),
            (
                format!("2:{A}\n1:{B}"),
                "line 2: the ids of masking keys are greater than 0 and grow from line to line",
            ),
            (
                format!("-1:{A}"),
                "line 1: the ids of masking keys are greater than 0 and grow from line to line",
            ),
            (format!("0:{A}"), "line 1: plain SHA-512 can be the first link only, as 0:sha512"),
            (format!("1:{A}\n2:sha512"), "line 2: plain SHA-512 can be the first link only, as 0:sha512"),
            (format!("1:{A}\n0:sha512"), "line 2: plain SHA-512 can be the first link only, as 0:sha512"),
            (format!("1:{A}\n2:{A}"), "line 2: the same key stands in the line before it"),
        ] {
            let error = KeyRing::from_text(&text).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}
