//! What the vault keeps: found by mask, by row or by person, never by value.

use std::fmt;

use fetch_etl_core::{KeyId, SealedDataKey, SinkError};
use sqlx::{Connection, PgConnection};

use crate::PostgresSink;
use crate::audit::unexpected;
use crate::error::Failure;

/// The fields that have masks, as the vault names them; their columns are `masked_` and the name.
pub(crate) const FIELDS: [&str; 2] = ["ip", "device_id"];

/// Which values are meant.
#[derive(Clone, Copy)]
pub enum Sought<'a> {
    /// Those that have this mask, or had it before a rotation.
    Mask {
        /// The mask.
        mask: &'a [u8; 64],
        /// In this field only.
        field: Option<&'a str>,
    },
    /// Those of the row with this message id.
    Row(&'a str),
    /// Those of all rows of this person.
    User(&'a str),
}

/// A mask, and what the vault keeps behind it.
///
/// Its `Debug` shows neither.
#[derive(Clone)]
pub struct FoundMask {
    /// The field.
    pub field: String,
    /// The mask as the row has it.
    pub mask: String,
    /// In how many of the rows that were meant; 0 where a mask was.
    pub rows: u64,
    /// `None` where the vault does not keep the value.
    pub kept: Option<KeptValue>,
}

/// A value that only the holder of the recipient's private key can read.
///
/// Its `Debug` shows the length only.
#[derive(Clone)]
pub struct KeptValue {
    /// The key under which it is encrypted.
    pub data_key: SealedDataKey,
    /// The mask that the ciphertext is bound to: that of the time when it was sealed.
    pub sealed_mask: [u8; 64],
    /// The key of that mask.
    pub sealed_key_id: KeyId,
    /// The value, encrypted.
    pub ciphertext: Vec<u8>,
    /// When it was first seen, RFC 3339 in UTC.
    pub created_at: String,
}

impl fmt::Debug for FoundMask {
    // A mask may be reversible.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, mask: _, rows, kept } = self;
        f.debug_struct("FoundMask")
            .field("field", field)
            .field("rows", rows)
            .field("kept", kept)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeptValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptValue({} bytes)", self.ciphertext.len())
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct FoundMasks {
    /// The masks, those of most rows first.
    pub masks: Vec<FoundMask>,
    /// Whether there are more than the limit.
    pub more: bool,
}

impl FoundMasks {
    /// How many of the values are kept.
    pub fn kept(&self) -> u64 {
        self.masks.iter().filter(|found| found.kept.is_some()).count() as u64
    }
}

/// A row of any of the queries.
struct Row {
    field: String,
    mask: String,
    rows: i64,
    sealed_mask: Option<Vec<u8>>,
    sealed_key_id: Option<i32>,
    ciphertext: Option<Vec<u8>>,
    created_at: Option<String>,
    data_key_id: Option<Vec<u8>>,
    recipient_id: Option<String>,
    sealed_key: Option<Vec<u8>>,
}

impl Row {
    fn into_found(self) -> sqlx::Result<FoundMask> {
        let Self { field, mask, rows, .. } = &self;
        let (field, mask, rows) = (field.clone(), mask.clone(), u64::try_from(*rows).unwrap_or_default());
        Ok(FoundMask { field, mask, rows, kept: self.into_kept()? })
    }

    fn into_kept(self) -> sqlx::Result<Option<KeptValue>> {
        let (Some(sealed_mask), Some(sealed_key_id), Some(ciphertext), Some(created_at)) =
            (self.sealed_mask, self.sealed_key_id, self.ciphertext, self.created_at)
        else {
            return Ok(None);
        };
        // An entry whose data key somebody deleted can be opened by nobody.
        let (Some(id), Some(recipient_id), Some(bytes)) =
            (self.data_key_id, self.recipient_id, self.sealed_key)
        else {
            return Ok(None);
        };
        let id = id.try_into().map_err(|_| unexpected("a data key's id of another length"))?;
        Ok(Some(KeptValue {
            data_key: SealedDataKey { id, recipient_id: recipient_id.into(), bytes: bytes.into() },
            sealed_mask: sealed_mask.try_into().map_err(|_| unexpected("a mask of another length"))?,
            sealed_key_id: KeyId::new(sealed_key_id),
            ciphertext,
            created_at,
        }))
    }
}

impl PostgresSink {
    /// Finds what the vault keeps, at most `limit` masks. By row and by person it has to read `user_logins`, as a whole where that
    /// has no index for it; there is no limit of time.
    ///
    /// It shows nothing of a value. Whoever opens what it finds says so in the audit before.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn find_masks(&self, sought: Sought<'_>, limit: u32) -> Result<FoundMasks, SinkError> {
        let mut connection = self.sessions.connect_unhurried().await?;
        let found = find(&mut connection, sought, limit)
            .await
            .map_err(|error| Failure::from(error).without_rows())?;
        connection.close().await.map_err(Failure::from)?;
        Ok(found)
    }
}

async fn find(connection: &mut PgConnection, sought: Sought<'_>, limit: u32) -> sqlx::Result<FoundMasks> {
    // One more, to know whether there are more.
    let most = i64::from(limit) + 1;
    let rows = match sought {
        Sought::Mask { mask, field } => by_mask(connection, mask, field, most).await?,
        Sought::Row(message_id) => by_rows(connection, None, Some(message_id), most).await?,
        Sought::User(user_id) => by_rows(connection, Some(user_id), None, most).await?,
    };
    let mut masks = rows.into_iter().map(Row::into_found).collect::<sqlx::Result<Vec<_>>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = masks.len() > limit;
    masks.truncate(limit);
    Ok(FoundMasks { masks, more })
}

async fn by_mask(
    connection: &mut PgConnection,
    mask: &[u8; 64],
    field: Option<&str>,
    most: i64,
) -> sqlx::Result<Vec<Row>> {
    let fields = field.map_or_else(|| FIELDS.to_vec(), |field| vec![field]);
    sqlx::query_as!(
        Row,
        r#"SELECT v.field, encode(v.mask, 'hex') AS "mask!", 0::bigint AS "rows!",
            coalesce(v.sealed_mask, v.mask) AS sealed_mask, coalesce(v.sealed_key_id, v.mask_key_id) AS sealed_key_id,
            v.ciphertext AS "ciphertext?",
            to_char(v.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
            k.id AS "data_key_id?", k.recipient_id AS "recipient_id?", k.sealed_key AS "sealed_key?"
        FROM etl.pii_vault AS v LEFT JOIN etl.vault_data_keys AS k ON k.id = v.dek_id
        WHERE v.field = ANY ($1::text[]) AND (v.mask = $2 OR v.sealed_mask = $2)
        ORDER BY v.field, v.mask LIMIT $3"#,
        &fields as &[&str],
        mask.as_slice(),
        most
    )
    .fetch_all(connection)
    .await
}

/// Each mask of the rows that are meant, once. A mask that is not of the vault's form is of a method that keeps nothing there.
async fn by_rows(
    connection: &mut PgConnection,
    user_id: Option<&str>,
    message_id: Option<&str>,
    most: i64,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"WITH meant AS MATERIALIZED (
            SELECT m.field, m.mask, count(*) AS rows,
                CASE WHEN m.mask ~ '^[0-9a-f]{128}$' THEN decode(m.mask, 'hex') END AS digest
            FROM user_logins AS u
                CROSS JOIN LATERAL (VALUES ('ip', u.masked_ip), ('device_id', u.masked_device_id)) AS m (field, mask)
            WHERE ($1::text IS NULL OR u.user_id = $1) AND ($2::text IS NULL OR u.message_id = $2)
                AND NOT ($1 IS NULL AND $2 IS NULL) AND m.mask IS NOT NULL
            GROUP BY m.field, m.mask
            ORDER BY count(*) DESC, m.field, m.mask LIMIT $3
        )
        SELECT meant.field AS "field!", meant.mask AS "mask!", meant.rows AS "rows!",
            coalesce(v.sealed_mask, v.mask) AS sealed_mask, coalesce(v.sealed_key_id, v.mask_key_id) AS sealed_key_id,
            v.ciphertext AS "ciphertext?",
            to_char(v.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
            k.id AS "data_key_id?", k.recipient_id AS "recipient_id?", k.sealed_key AS "sealed_key?"
        FROM meant
            LEFT JOIN LATERAL (
                SELECT * FROM etl.pii_vault AS p
                WHERE p.field = meant.field AND (p.mask = meant.digest OR p.sealed_mask = meant.digest)
                ORDER BY p.mask = meant.digest DESC LIMIT 1
            ) AS v ON true
            LEFT JOIN etl.vault_data_keys AS k ON k.id = v.dek_id
        ORDER BY meant.rows DESC, meant.field, meant.mask"#,
        user_id,
        message_id,
        most
    )
    .fetch_all(connection)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_mask_nor_ciphertext() {
        let kept = KeptValue {
            data_key: SealedDataKey { id: [7; 16], recipient_id: "r".into(), bytes: [1].into() },
            sealed_mask: [9; 64],
            sealed_key_id: KeyId::new(1),
            ciphertext: vec![8; 5],
            created_at: String::new(),
        };
        let found = FoundMask { field: "ip".into(), mask: "the mask".into(), rows: 2, kept: Some(kept) };
        let shown = format!("{found:?}");
        assert_eq!(shown, r#"FoundMask { field: "ip", rows: 2, kept: Some(KeptValue(5 bytes)), .. }"#);
    }
}
