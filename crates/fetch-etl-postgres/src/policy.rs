//! The policy in force: reading it, changing it, and holding writes to it. All but the last is done once, at start, outside the pool.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use async_trait::async_trait;
use fetch_etl_core::{KeyId, MaskPolicy, PolicyInForce, PolicyStore, SinkError};
use sqlx::{Connection, PgConnection};

use crate::PostgresSink;
use crate::error::Failure;

/// The version that writes are held to. Versions begin with 1, so 0 can mean that there is none.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicI64);

impl Fence {
    pub(crate) fn version(&self) -> Option<i64> {
        Some(self.0.load(Relaxed)).filter(|version| *version > 0)
    }

    fn hold_to(&self, version: i64) {
        self.0.store(version, Relaxed);
    }
}

#[async_trait]
impl PolicyStore for PostgresSink {
    async fn policy_in_force(&self) -> Result<Option<PolicyInForce>, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let query = sqlx::query!(
            r#"SELECT version AS "version!", methods AS "methods!", key_id AS "key_id!", key_check AS "key_check!",
                domain AS "domain!", canonical_version AS "canonical_version!"
            FROM etl.policy_in_force()"#
        );
        let found = self.sessions.patiently(query.fetch_optional(&mut connection)).await?;
        connection.close().await.map_err(Failure::from)?;
        Ok(found.map(|row| PolicyInForce {
            version: row.version,
            policy: MaskPolicy {
                methods: row.methods,
                key_id: KeyId::new(row.key_id),
                key_check: row.key_check,
                domain: row.domain,
                canonical_version: row.canonical_version,
            },
        }))
    }

    async fn put_in_force(
        &self,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let version = self.sessions.patiently(put(&mut connection, policy, replaces)).await?;
        connection.close().await.map_err(Failure::from)?;
        Ok(version.map(|version| PolicyInForce { version, policy: policy.clone() }))
    }

    async fn key_ids_in_use(&self) -> Result<Vec<Option<KeyId>>, SinkError> {
        // It may take as long as it takes to read the table, so the pool's limit does not hold.
        let mut connection = self.sessions.connect_alone().await?;
        let query = sqlx::query_scalar!(
            "SELECT DISTINCT mask_key_id FROM user_logins WHERE masked_ip IS NOT NULL OR masked_device_id IS NOT NULL"
        );
        let ids = query.fetch_all(&mut connection).await.map_err(Failure::from)?;
        connection.close().await.map_err(Failure::from)?;
        Ok(ids.into_iter().map(|id| id.map(KeyId::new)).collect())
    }

    fn hold_to(&self, version: i64) {
        self.fence.hold_to(version);
    }
}

/// Puts a policy in force, and returns its version; `None` where another one is in force than the one that it replaces.
pub(crate) async fn put(
    connection: &mut PgConnection,
    policy: &MaskPolicy,
    replaces: Option<i64>,
) -> sqlx::Result<Option<i64>> {
    let MaskPolicy { methods, key_id, key_check, domain, canonical_version } = policy;
    match replaces {
        None => {
            sqlx::query_scalar!(
                "SELECT etl.put_first_policy_in_force($1, $2, $3, $4, $5)",
                methods,
                key_id.get(),
                key_check,
                domain,
                canonical_version
            )
            .fetch_one(connection)
            .await
        }
        Some(replaces) => {
            sqlx::query_scalar!(
                "SELECT etl.put_policy_in_force($1, $2, $3, $4, $5, $6)",
                methods,
                key_id.get(),
                key_check,
                domain,
                canonical_version,
                replaces
            )
            .fetch_one(connection)
            .await
        }
    }
}
