//! The stored masks as a whole: what they were made with, and what they are to be made with.

use std::sync::Arc;

use etl_worker::failure::Failure;
use etl_worker::settings::{DatabaseKind, MaskingSettings, SinkSettings};
use etl_worker::{masking, sinks};
use fetch_etl_core::{KeyId, MaskPolicy, PolicyInForce, PolicyStore, Rotation, SinkError};
use fetch_etl_mask::MaskPlan;
use fetch_etl_postgres::{Maintenance, PostgresSink};

use crate::quarantine;

/// A database's masks.
pub(crate) struct Masks {
    settings: SinkSettings,
    pub(crate) plan: MaskPlan,
    pub(crate) policies: Arc<dyn PolicyStore>,
    pub(crate) rotation: Arc<dyn Rotation>,
    postgres: Option<Arc<PostgresSink>>,
}

impl Masks {
    /// Connects, and checks that the tables are there; makes none.
    pub(crate) async fn open(masking: &MaskingSettings, settings: SinkSettings) -> Result<Self, Failure> {
        let plan = masking::plan(masking).await?;
        let told = |error: SinkError| sinks::failure(&settings, &error);
        match settings.database.kind() {
            DatabaseKind::Postgres => {
                let sink = Arc::new(quarantine::postgres(&settings).await.map_err(told)?);
                let (policies, rotation) = (sink.clone(), sink.clone());
                Ok(Self { settings, plan, policies, rotation, postgres: Some(sink) })
            }
            DatabaseKind::Sqlite => {
                let sink = Arc::new(quarantine::sqlite(&settings).await.map_err(told)?);
                let (policies, rotation) = (sink.clone(), sink);
                Ok(Self { settings, plan, policies, rotation, postgres: None })
            }
        }
    }

    /// What the vault keeps, by key.
    pub(crate) async fn vault_by_key(&self) -> Result<Vec<(KeyId, u64)>, Failure> {
        match &self.postgres {
            Some(sink) => sink.vault_by_key().await.map_err(|error| self.failure(&error)),
            None => Ok(Vec::new()),
        }
    }

    /// The key that a rotation was to bring everything up to, where one was left unfinished. Only beside a vault it matters.
    pub(crate) async fn unfinished_rotation(&self) -> Result<Option<KeyId>, Failure> {
        match &self.postgres {
            Some(sink) => sink.unfinished_rotation().await.map_err(|error| self.failure(&error)),
            None => Ok(None),
        }
    }

    /// The right to go over all masks, which one has at a time, until what it returns is dropped. SQLite has one writer at a time
    /// anyway, and nothing but a rotation goes over all rows.
    pub(crate) async fn begin_maintenance(&self) -> Result<Option<Maintenance>, Failure> {
        match &self.postgres {
            Some(sink) => Ok(Some(sink.begin_maintenance().await.map_err(|error| self.failure(&error))?)),
            None => Ok(None),
        }
    }

    /// Puts a policy in force under that right; `None` where somebody else changed it.
    pub(crate) async fn put_in_force(
        &self,
        maintenance: Option<&mut Maintenance>,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, Failure> {
        let put = match maintenance {
            Some(maintenance) => maintenance.put_in_force(policy, replaces).await,
            None => self.policies.put_in_force(policy, replaces).await,
        };
        put.map_err(|error| self.failure(&error))
    }

    /// What a user is told about a database that fails.
    pub(crate) fn failure(&self, error: &SinkError) -> Failure {
        sinks::failure(&self.settings, error)
    }
}
