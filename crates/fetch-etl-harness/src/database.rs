use sqlx::{PgConnection, Row};

/// A row of `user_logins` as it is stored, every column as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredRow {
    /// The message's key.
    pub message_id: Option<String>,
    /// user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_text, mask_key_id.
    pub columns: [Option<String>; 9],
}

/// A row of `etl.quarantine`: what says why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredReject {
    /// The message's key.
    pub key: String,
    /// Why it was rejected.
    pub reason: String,
    /// The field concerned.
    pub field: Option<String>,
}

/// All rows of `user_logins`, by message.
pub async fn rows(connection: &mut PgConnection) -> Vec<StoredRow> {
    let query = "SELECT message_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version::text, \
                 create_date::text, app_version_text, mask_key_id::text FROM user_logins ORDER BY message_id";
    let rows = sqlx::query(query).fetch_all(connection).await.expect("user_logins can be read");
    rows.iter()
        .map(|row| StoredRow { message_id: row.get(0), columns: std::array::from_fn(|n| row.get(n + 1)) })
        .collect()
}

/// All rows of the quarantine, by key.
pub async fn rejects(connection: &mut PgConnection) -> Vec<StoredReject> {
    let query = "SELECT key, reason, field FROM etl.quarantine ORDER BY key";
    let rows = sqlx::query(query).fetch_all(connection).await.expect("the quarantine can be read");
    rows.iter().map(|row| StoredReject { key: row.get(0), reason: row.get(1), field: row.get(2) }).collect()
}
