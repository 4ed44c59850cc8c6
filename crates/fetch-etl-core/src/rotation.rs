//! Rotation of keys: stored masks are brought up to a newer key, without the values behind them.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::{KeyId, MaskedValue, SinkError};

/// Makes the mask that a value has with a newer key from the one that it has with an older one.
///
/// For equal masks it must give equal masks, and for a value's old mask what a [`Masker`](crate::Masker) gives for the value now.
pub trait Remask: Send + Sync {
    /// The key that masks are brought up to.
    fn target(&self) -> KeyId;

    /// The keys whose masks can be brought up to it.
    fn origins(&self) -> Vec<KeyId>;

    /// Whether the masks of a field depend on the key. Those of others stay as they are.
    fn concerns(&self, field: &str) -> bool;

    /// The new mask; `None` where `mask` is no mask, or not of one of the [`origins`](Self::origins).
    fn remask(&self, field: &str, mask: &str, made_with: KeyId) -> Option<MaskedValue>;

    /// What a row is to hold of a field then, where it holds this now: NULL and the masks of fields that it does not
    /// [concern](Self::concerns) stay. `None` where `held` should be a mask and is none: the row is left as it is.
    fn column(&self, field: &str, held: Option<&str>, made_with: KeyId) -> Option<Option<String>> {
        match held {
            Some(mask) if self.concerns(field) => Some(Some(self.remask(field, mask, made_with)?.to_text())),
            other => Some(other.map(str::to_owned)),
        }
    }
}

/// Rows with masks that name the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRows {
    /// The key's id; `None` for rows from before there were ids.
    pub key_id: Option<KeyId>,
    /// How many rows there are.
    pub rows: u64,
    /// Each field with how many of them hold a digest in it, 128 hexadecimal characters: what the keyed methods and plain SHA-512 make,
    /// and no other.
    pub digests: Vec<(&'static str, u64)>,
}

impl KeyRows {
    /// How many of the rows hold a digest in this field.
    pub fn digests_in(&self, field: &str) -> u64 {
        self.digests.iter().find(|(name, _)| *name == field).map_or(0, |(_, rows)| *rows)
    }
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RotationProgress {
    /// Rows brought up to date.
    pub rows: u64,
    /// Entries of the vault brought up to date.
    pub vault_entries: u64,
    /// Rows that were left as they are, for a mask in them is none.
    pub unreadable: u64,
    /// Whether everything is done; else it was told to stop.
    pub finished: bool,
}

/// A store whose rows can be brought up to a newer key while others write.
///
/// The new key's policy must be in force before ([`PolicyStore::put_in_force`](crate::PolicyStore::put_in_force)): then there are no
/// more rows with the old one to come.
#[async_trait]
pub trait Rotation: Send + Sync {
    /// The rows with masks, key by key. It reads the whole table.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn rows_by_key(&self) -> Result<Vec<KeyRows>, SinkError>;

    /// Brings all rows, and what the vault has, up to the target of `remask`: in batches, each of which is a transaction. Rows without a
    /// key's id are left alone, unless `unnamed` says which key is meant.
    ///
    /// May be stopped at any time, also by a crash, and called again: a row names its key, so none is done twice. The vault comes before
    /// the rows.
    ///
    /// # Errors
    /// What was done until then stays.
    async fn remask_all(
        &self,
        remask: &dyn Remask,
        unnamed: Option<KeyId>,
        progress: &(dyn Fn(RotationProgress) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<RotationProgress, SinkError>;
}
