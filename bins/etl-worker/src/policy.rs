//! The fence around a fleet: this worker's masking policy and the one in the database.

use std::sync::Arc;

use fetch_etl_core::{ErrorClass, KeyId, MaskPolicy, PolicyInForce, PolicyStore, SinkError};
use fetch_etl_mask::{FieldMasker, MaskPlan};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::failure::Failure;
use crate::patience::until_ready;

/// How often another worker may be faster at writing the first policy down; it can happen once.
const TRIES: usize = 3;

/// Why this worker must not write.
#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    /// The policies differ.
    #[error("this worker's masking policy is not the one in force in the database: {}", .0.join("; "))]
    Differs(Vec<String>),
    /// There is no policy yet, and the rows do not fit the one that is configured.
    #[error(
        "the stored rows were masked with key {}, and the configured keys are {}: equal values would have two kinds of masks",
        ids(.rows), ids(.keys)
    )]
    RowsDiffer {
        /// The keys of the rows.
        rows: Vec<KeyId>,
        /// The keys of the configuration.
        keys: Vec<KeyId>,
    },
    /// The store failed.
    #[error("{0}")]
    Store(#[from] SinkError),
}

fn ids(ids: &[KeyId]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| id.get().to_string()).collect();
    ids.join(", ")
}

impl Disagreement {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Store(error) => error.class(),
            Self::Differs(_) | Self::RowsDiffer { .. } => ErrorClass::Fatal,
        }
    }
}

impl From<Disagreement> for Failure {
    fn from(disagreement: Disagreement) -> Self {
        let failure = Self::failed(disagreement.to_string());
        match disagreement {
            Disagreement::Differs(_) => failure.hint(
                "use the key and the methods of the other workers; to change them on purpose: etl-admin rotate (another key), \
                 etl-admin policy set (anything)",
            ),
            Disagreement::RowsDiffer { .. } => failure.hint(
                "add the old keys to the key file, a line ID:KEY for each, plain SHA-512 as 0:sha512, and run etl-admin rotate; or \
                 accept two kinds of masks with etl-admin policy set",
            ),
            Disagreement::Store(_) => failure,
        }
    }
}

/// The masker that the policy in force asks for; the first worker of all puts its own in force. From then on the store writes
/// nothing under another policy. `None` when a stop was asked for before.
///
/// # Errors
/// The policies differ, or the store failed in a way that does not pass by itself.
pub(crate) async fn agree_when_ready(
    plan: &MaskPlan,
    store: &dyn PolicyStore,
    stop: &CancellationToken,
) -> Result<Option<Arc<FieldMasker>>, Failure> {
    let agreed = until_ready("the database", stop, Disagreement::class, || agree(plan, store)).await;
    Ok(agreed?.map(Arc::new))
}

/// The masker that the policy in force asks for. Where there is none yet, that of this plan is put in force; from then on the store
/// writes nothing under another one.
///
/// # Errors
/// The policies differ, or the store failed.
pub async fn agree(plan: &MaskPlan, store: &dyn PolicyStore) -> Result<FieldMasker, Disagreement> {
    for _ in 0..TRIES {
        let in_force = match store.policy_in_force().await? {
            Some(in_force) => in_force,
            // `None` where another worker was faster: then its policy is there.
            None => match put_first(plan, store).await? {
                Some(put) => put,
                None => continue,
            },
        };
        let masker = plan.masker_for(&in_force.policy).map_err(Disagreement::Differs)?;
        if in_force.policy.key_id != plan.newest() {
            warn!(
                event = "newer_key_waits",
                in_force = in_force.policy.key_id.get(),
                newest = plan.newest().get(),
                "masking with the key in force; the newer one is used after etl-admin rotate"
            );
        }
        store.hold_to(in_force.version);
        return Ok(masker);
    }
    let text = "the masking policy changes all the time";
    Err(Disagreement::Store(SinkError::new(ErrorClass::Retryable, text)))
}

/// The masker that [`agree`] would give, without anything being written: where there is no policy yet, the one of the policy that would
/// be the first.
///
/// # Errors
/// The policies differ, or the store failed.
pub async fn foresee(plan: &MaskPlan, store: &dyn PolicyStore) -> Result<FieldMasker, Disagreement> {
    let policy = match store.policy_in_force().await? {
        Some(in_force) => in_force.policy,
        None => first_policy(plan, store).await?,
    };
    plan.masker_for(&policy).map_err(Disagreement::Differs)
}

/// Writes this worker's policy down, where there is none yet.
async fn put_first(plan: &MaskPlan, store: &dyn PolicyStore) -> Result<Option<PolicyInForce>, Disagreement> {
    let put = store.put_in_force(&first_policy(plan, store).await?, None).await?;
    if let Some(PolicyInForce { version, policy }) = &put {
        info!(
            event = "policy_set",
            version,
            methods = policy.methods,
            key_id = policy.key_id.get(),
            "wrote the masking policy down; other workers must have the same"
        );
    }
    Ok(put)
}

/// What is compared without writing anything, for `check`: the id of the key that is in force, or that would be, where none is yet.
pub(crate) async fn compare(plan: &MaskPlan, store: &dyn PolicyStore) -> Result<KeyId, Disagreement> {
    match store.policy_in_force().await? {
        Some(in_force) => {
            plan.masker_for(&in_force.policy).map(|_| in_force.policy.key_id).map_err(Disagreement::Differs)
        }
        None => Ok(first_policy(plan, store).await?.key_id),
    }
}

/// The policy to begin with: with the newest key, or, where rows from before there were policies have an older one of these keys, with
/// that. Rows without a key's id, from before this program, are plain SHA-512 as far as anybody knows.
async fn first_policy(plan: &MaskPlan, store: &dyn PolicyStore) -> Result<MaskPolicy, Disagreement> {
    let in_use = store.key_ids_in_use().await?;
    let has_unnamed = in_use.contains(&None);
    let mut rows: Vec<_> = in_use.into_iter().flatten().collect();
    let keys = plan.key_ids();
    if rows.is_empty() && has_unnamed {
        rows.push(KeyId::UNKEYED);
    } else if has_unnamed && !rows.contains(&KeyId::UNKEYED) {
        warn!(
            event = "rows_of_unknown_key",
            "there are rows from before this program; whether their masks match new ones is not known"
        );
    }
    let key = match rows.as_slice() {
        [] => plan.newest(),
        [one] if keys.contains(one) => *one,
        _ => return Err(Disagreement::RowsDiffer { rows, keys }),
    };
    plan.policy(key).ok_or(Disagreement::RowsDiffer { rows, keys })
}
