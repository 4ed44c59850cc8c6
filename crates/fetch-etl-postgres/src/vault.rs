//! What a batch brings for the vault.

use std::collections::HashSet;

use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{Masked, SealedDataKey, VaultEntry};
use sqlx::PgConnection;

/// The vault's entries of a batch, in the order of field and mask.
#[derive(Default)]
pub(crate) struct Entries<'a> {
    entries: Vec<Brought<'a>>,
}

/// An entry, and with which row it came.
struct Brought<'a> {
    key: &'a str,
    user: &'a str,
    mask: &'a [u8; 64],
    entry: &'a VaultEntry,
}

impl<'a> Entries<'a> {
    pub(crate) fn of(rows: &'a [Masked<LoginRow>]) -> Self {
        if rows.iter().all(|row| row.vault_entries().is_empty()) {
            return Self::default();
        }
        // Of rows with one key the first is stored, and so are its entries.
        let mut keys = HashSet::new();
        let mut entries: Vec<_> = rows
            .iter()
            .filter(|row: &&'a Masked<LoginRow>| keys.insert(row.key().as_str()))
            .flat_map(|row| row.vault_entries().iter().map(move |entry| (row, entry)))
            // A mask that is no digest identifies no value.
            .filter_map(|(row, entry)| {
                let (key, user) = (row.key().as_str(), row.row().user_id.as_str());
                Some(Brought { key, user, mask: entry.mask.digest()?, entry })
            })
            .collect();
        // Writers that take the same entries in the same order wait for each other; in any other order they deadlock.
        entries.sort_by_key(|brought| (&*brought.entry.field, brought.mask, brought.user));
        Self { entries }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Stores those of rows that are new, but for these persons', that are not there yet. Two persons may bring the same value. A row
    /// that is not stored leaves nothing in the vault: nobody would find it there to erase it.
    pub(crate) async fn store(
        &self,
        connection: &mut PgConnection,
        fresh: &[String],
        erased: &[String],
    ) -> sqlx::Result<()> {
        let fresh: HashSet<&str> = fresh.iter().map(String::as_str).collect();
        let erased: HashSet<&str> = erased.iter().map(String::as_str).collect();
        let stays = |brought: &&Brought<'_>| fresh.contains(brought.key) && !erased.contains(brought.user);
        let mut kept: Vec<_> =
            self.entries.iter().filter(stays).map(|brought| (brought.mask, brought.entry)).collect();
        kept.dedup_by_key(|(mask, entry)| (&*entry.field, *mask));
        if kept.is_empty() {
            return Ok(());
        }
        store_data_keys(connection, kept.iter().map(|(_, entry)| &*entry.data_key)).await?;
        let fields: Vec<&str> = kept.iter().map(|(_, entry)| &*entry.field).collect();
        let masks: Vec<&[u8]> = kept.iter().map(|(mask, _)| mask.as_slice()).collect();
        let key_ids: Vec<i32> = kept.iter().map(|(_, entry)| entry.mask_key_id.get()).collect();
        let data_keys: Vec<&[u8]> = kept.iter().map(|(_, entry)| entry.data_key.id.as_slice()).collect();
        let ciphertexts: Vec<&[u8]> = kept.iter().map(|(_, entry)| &*entry.ciphertext).collect();
        // Without a conflict target, so that INSERT is all the right that it takes.
        sqlx::query!(
            "INSERT INTO etl.pii_vault (field, mask, mask_key_id, dek_id, ciphertext)
            SELECT * FROM unnest($1::text[], $2::bytea[], $3::integer[], $4::bytea[], $5::bytea[])
            ON CONFLICT DO NOTHING",
            &fields as &[&str],
            &masks as &[&[u8]],
            &key_ids,
            &data_keys as &[&[u8]],
            &ciphertexts as &[&[u8]],
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

async fn store_data_keys<'a>(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &'a SealedDataKey>,
) -> sqlx::Result<()> {
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| key.id);
    keys.dedup_by_key(|key| key.id);
    let ids: Vec<&[u8]> = keys.iter().map(|key| key.id.as_slice()).collect();
    let recipients: Vec<&str> = keys.iter().map(|key| &*key.recipient_id).collect();
    let sealed: Vec<&[u8]> = keys.iter().map(|key| &*key.bytes).collect();
    sqlx::query!(
        "INSERT INTO etl.vault_data_keys (id, recipient_id, sealed_key)
        SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[])
        ON CONFLICT DO NOTHING",
        &ids as &[&[u8]],
        &recipients as &[&str],
        &sealed as &[&[u8]],
    )
    .execute(connection)
    .await?;
    Ok(())
}
