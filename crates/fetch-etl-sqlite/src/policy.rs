//! The policy in force: reading it, changing it, and holding writes to it.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use async_trait::async_trait;
use fetch_etl_core::{KeyId, MaskPolicy, PolicyInForce, PolicyStore, SinkError};
use sqlx::SqliteConnection;

use crate::SqliteSink;
use crate::error::error_without_rows;

/// The version that writes are held to. Versions begin with 1, so 0 can mean that there is none.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicI64);

impl Fence {
    /// Whether the policy that writes are held to is in force. Within a transaction that writes: nobody changes it meanwhile.
    pub(crate) async fn is_open(&self, connection: &mut SqliteConnection) -> sqlx::Result<bool> {
        let held_to = self.0.load(Relaxed);
        if held_to == 0 {
            return Ok(true);
        }
        let version =
            sqlx::query_scalar!("SELECT version FROM etl_policy").fetch_optional(connection).await?;
        Ok(version == Some(held_to))
    }
}

#[async_trait]
impl PolicyStore for SqliteSink {
    async fn policy_in_force(&self) -> Result<Option<PolicyInForce>, SinkError> {
        let query = sqlx::query!(
            "SELECT version, methods, key_id, key_check, domain, canonical_version FROM etl_policy"
        );
        let found = query.fetch_optional(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let narrow = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(found.map(|row| PolicyInForce {
            version: row.version,
            policy: MaskPolicy {
                methods: row.methods,
                key_id: KeyId::new(narrow(row.key_id)),
                key_check: row.key_check,
                domain: row.domain,
                canonical_version: narrow(row.canonical_version),
            },
        }))
    }

    async fn put_in_force(
        &self,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, SinkError> {
        let version = put(self, policy, replaces).await.map_err(|error| error_without_rows(&error))?;
        Ok(version.map(|version| PolicyInForce { version, policy: policy.clone() }))
    }

    async fn key_ids_in_use(&self) -> Result<Vec<Option<KeyId>>, SinkError> {
        let query = sqlx::query_scalar!(
            "SELECT DISTINCT mask_key_id FROM user_logins WHERE masked_ip IS NOT NULL OR masked_device_id IS NOT NULL"
        );
        let ids = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        Ok(ids.into_iter().map(|id| id.map(|id| KeyId::new(i32::try_from(id).unwrap_or(i32::MAX)))).collect())
    }

    fn hold_to(&self, version: i64) {
        self.fence.0.store(version, Relaxed);
    }
}

async fn put(sink: &SqliteSink, policy: &MaskPolicy, replaces: Option<i64>) -> sqlx::Result<Option<i64>> {
    let mut transaction = sink.pool.begin_with("BEGIN IMMEDIATE").await?;
    let current =
        sqlx::query_scalar!("SELECT version FROM etl_policy").fetch_optional(&mut *transaction).await?;
    if current != replaces {
        transaction.rollback().await?;
        return Ok(None);
    }
    let version = current.unwrap_or(0) + 1;
    let MaskPolicy { methods, key_id, key_check, domain, canonical_version } = policy;
    let key_id = key_id.get();
    sqlx::query!(
        "INSERT INTO etl_policy (only_row, version, methods, key_id, key_check, domain, canonical_version)
        VALUES (1, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (only_row) DO UPDATE SET
            version = excluded.version,
            methods = excluded.methods,
            key_id = excluded.key_id,
            key_check = excluded.key_check,
            domain = excluded.domain,
            canonical_version = excluded.canonical_version,
            since = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        version,
        methods,
        key_id,
        key_check,
        domain,
        canonical_version
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(version))
}
