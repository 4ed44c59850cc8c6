//! The right to go over the stored masks as a whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::{ErrorClass, KeyId, MaskPolicy, PolicyInForce, Remask, RotationProgress, SinkError};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::PostgresSink;

use crate::audit::{AuditEvent, AuditHead, append};
use crate::erase::{Change, Erasure, change_tombstone, erase, survey, without_rows};
use crate::error::{Failure, no_answer};
use crate::policy::put;
use crate::prune::{Pruned, prune};
use crate::rotation::{Work, must_wait};
use crate::session::{Outcome, Sessions};

/// How often, and after which pause, the right is asked for again.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The right to go over the stored masks as a whole, which one has at a time: an erasure excludes another one, a rotation of keys, and
/// pruning.
///
/// It ends with its connection, and all work is done on that very connection: so the server does nothing for somebody who has lost it.
pub struct Maintenance {
    connection: PgConnection,
    /// Whether nobody knows what the connection is at.
    lost: bool,
    sessions: Arc<Sessions>,
}

impl fmt::Debug for Maintenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Maintenance").finish_non_exhaustive()
    }
}

impl PostgresSink {
    /// Begins work on the stored masks as a whole.
    ///
    /// # Errors
    /// Fatal where somebody else is at such work on this database, and not done within a few seconds: as long as the server may need to
    /// notice that somebody was killed.
    pub async fn begin_maintenance(&self) -> Result<Maintenance, SinkError> {
        let sessions = self.sessions.clone();
        Ok(Maintenance { connection: connect_and_lock(&sessions).await?, lost: false, sessions })
    }
}

async fn connect_and_lock(sessions: &Sessions) -> Result<PgConnection, SinkError> {
    let mut connection = sessions.connect_unhurried().await?;
    for tries_left in (0..LOCK_TRIES).rev() {
        let free = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock(etl.maintenance_lock()) AS "free!""#)
            .fetch_one(&mut connection)
            .await
            .map_err(Failure::from)?;
        if free {
            return Ok(connection);
        }
        if tries_left > 0 {
            tokio::time::sleep(LOCK_PAUSE).await;
        }
    }
    Err(SinkError::new(
        ErrorClass::Fatal,
        "another etl-admin is erasing, rotating or pruning in this database: wait until it is done, and run this again",
    ))
}

impl Maintenance {
    /// Whether this person has a tombstone already, and what erasing them would do. It reads `user_logins`, twice where the vault
    /// keeps something of the person.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn survey(&mut self, user_id: &str) -> Result<(bool, Erasure), SinkError> {
        survey(&mut self.connection, user_id).await.map_err(without_rows)
    }

    /// Leaves a tombstone and says so in the audit, both in one transaction. Every write that commits after that, whatever it is
    /// of, stores this person's rows without masks and nothing of theirs in the vault. `false` where there was one already; the
    /// audit knows all the same that it was asked for.
    ///
    /// # Errors
    /// Neither is known to be done.
    pub async fn leave_tombstone(
        &mut self,
        user_id: &str,
        event: &AuditEvent<'_>,
    ) -> Result<(bool, AuditHead), SinkError> {
        change_tombstone(&mut self.connection, user_id, event, Change::Leave).await.map_err(without_rows)
    }

    /// Takes a tombstone away, for somebody who comes back, and says so in the audit. What comes from now on is stored with masks.
    ///
    /// # Errors
    /// Neither is known to be done.
    pub async fn lift_tombstone(
        &mut self,
        user_id: &str,
        event: &AuditEvent<'_>,
    ) -> Result<(bool, AuditHead), SinkError> {
        change_tombstone(&mut self.connection, user_id, event, Change::Lift).await.map_err(without_rows)
    }

    /// Deletes what the vault keeps of a person and of nobody else, and sets the masks of all their rows to NULL; in batches, each a
    /// transaction. Interrupted at any point, also by `kill -9`, it goes on when it is called again. To be called after
    /// [`leave_tombstone`](Self::leave_tombstone): without one, rows may come in behind it.
    ///
    /// It reads `user_logins` twice: once for the person's rows, and once, where the vault keeps something of them, for others who have
    /// the same masks. A person with more than 50,000 rows takes that twice for each 50,000.
    ///
    /// # Errors
    /// What is done stays done; call it again. Fatal where a rotation of keys was left unfinished and the vault is not empty: what it
    /// keeps of whom is not known then.
    pub async fn erase(&mut self, user_id: &str) -> Result<Erasure, SinkError> {
        erase(&mut self.connection, user_id).await
    }

    /// Whether a rotation of keys was left unfinished and the vault is not empty, so that nothing of it may be deleted.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn must_wait_for_rotation(&mut self) -> Result<bool, SinkError> {
        must_wait(&mut self.connection).await.map_err(without_rows)
    }

    /// Deletes what the vault keeps and no row leads to any more, because rows were deleted; and then the data keys with which nothing
    /// is sealed that is still there. In batches, each a transaction; interrupted at any point, it goes on when it is called again. Unless
    /// `really`, nothing is deleted. It reads `user_logins` once for each 200,000 values of the vault.
    ///
    /// A row that is written in the very moment in which the last other one with the same value is gone may lose the way back to it.
    ///
    /// # Errors
    /// What is done stays done. Fatal where a rotation of keys was left unfinished.
    pub async fn prune_vault(
        &mut self,
        really: bool,
        progress: &(dyn Fn(Pruned) + Send + Sync),
    ) -> Result<Pruned, SinkError> {
        prune(&mut self.connection, really, progress).await
    }

    /// Puts a policy in force, as [`PolicyStore::put_in_force`](fetch_etl_core::PolicyStore::put_in_force) does, under this right: so no
    /// rotation is at work while the policy is changed by another command.
    ///
    /// # Errors
    /// Nothing is known to be changed.
    pub async fn put_in_force(
        &mut self,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, SinkError> {
        let outcome = timeout(self.sessions.patience(), put(&mut self.connection, policy, replaces)).await;
        let version = self.judge(outcome)?;
        Ok(version.map(|version| PolicyInForce { version, policy: policy.clone() }))
    }

    /// Brings all rows, and what the vault has, up to the target of `remask`, as [`Rotation`](fetch_etl_core::Rotation) says, under this
    /// right. Where its connection breaks, the right is taken again before anything else is done.
    ///
    /// # Errors
    /// What was done until then stays. Fatal where somebody else has the right since the connection broke, or has put another policy in
    /// force.
    pub async fn remask_all(
        &mut self,
        remask: &dyn Remask,
        unnamed: Option<KeyId>,
        progress: &(dyn Fn(RotationProgress) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<RotationProgress, SinkError> {
        Work { maintenance: self, remask, unnamed, done: RotationProgress::default(), progress, stop }
            .run()
            .await
    }

    /// The connection, for work of which each part has a limit of time.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Longest wait for a part of such work.
    pub(crate) fn patience(&self) -> Duration {
        self.sessions.patience()
    }

    /// Takes the outcome of a part, for which `patience` was the limit.
    pub(crate) fn judge<T>(&mut self, outcome: Outcome<T>) -> Result<T, SinkError> {
        match outcome {
            Ok(result) => result.map_err(without_rows),
            Err(_) => {
                self.lost = true;
                Err(no_answer(self.patience()).without_rows())
            }
        }
    }

    /// Lets the server end statements that take too long, or not.
    pub(crate) async fn limit_statements(&mut self, limited: bool) -> Result<(), SinkError> {
        let limit = if limited { self.sessions.statement_timeout() } else { Duration::ZERO };
        let millis = limit.as_millis().to_string();
        let set = sqlx::query!("SELECT set_config('statement_timeout', $1, false)", millis);
        let outcome = timeout(self.sessions.patience(), set.fetch_one(&mut self.connection)).await;
        self.judge(outcome).map(drop)
    }

    /// After an error: makes sure that the right is still ours, and takes it again where its connection is gone. Meanwhile somebody else
    /// may have had it: so the policy must still be one with this key.
    ///
    /// # Errors
    /// Somebody else has the right, or has changed the policy; or there is no connection to be had.
    pub(crate) async fn hold_on(&mut self, key: KeyId) -> Result<(), SinkError> {
        let alive =
            !self.lost && matches!(timeout(self.patience(), self.connection.ping()).await, Ok(Ok(())));
        if alive {
            return Ok(());
        }
        self.lost = true;
        self.connection = connect_and_lock(&self.sessions).await?;
        self.lost = false;
        self.limit_statements(true).await?;
        let query = sqlx::query_scalar!(r#"SELECT key_id AS "key_id!" FROM etl.policy_in_force()"#);
        let outcome = timeout(self.sessions.patience(), query.fetch_optional(&mut self.connection)).await;
        if self.judge(outcome)? == Some(key.get()) {
            return Ok(());
        }
        let text = "the connection broke, and meanwhile another masking policy was put in force: look at it before you go on";
        Err(SinkError::new(ErrorClass::Fatal, text))
    }

    /// Says something in the audit.
    ///
    /// # Errors
    /// It is not known to be there.
    pub async fn append_audit(&mut self, event: &AuditEvent<'_>) -> Result<AuditHead, SinkError> {
        append(&mut self.connection, event).await.map_err(without_rows)
    }

    /// Ends it.
    ///
    /// # Errors
    /// The connection broke; the work that was done stays done.
    pub async fn end(self) -> Result<(), SinkError> {
        self.connection.close().await.map_err(without_rows)
    }
}
