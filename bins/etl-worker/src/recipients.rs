//! To whom this worker seals, and to whom was sealed before: whoever may write its configuration could put a key of their own there.

use std::fmt;
use std::sync::Arc;

use fetch_etl_core::{NewestRecipients, SinkError};
use fetch_etl_seal::{EnvelopeSealer, VaultSealer};
use tracing::warn;

use crate::sinks::Database;

/// A recipient that is not the one to whom was sealed last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    setting: &'static str,
    configured: String,
    newest: String,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setting, configured, newest } = self;
        write!(
            f,
            "{setting} is the recipient {configured}, and what the database got last is sealed to {newest}"
        )
    }
}

/// The recipients of this worker that are not those to whom was sealed last. Where nothing was sealed yet, nothing is known.
///
/// # Errors
/// The database does not say.
pub(crate) async fn changed(
    database: &Database,
    sealer: Option<&Arc<EnvelopeSealer>>,
    vault: Option<&Arc<VaultSealer>>,
) -> Result<Vec<Changed>, SinkError> {
    if sealer.is_none() && vault.is_none() {
        return Ok(Vec::new());
    }
    let NewestRecipients { vault: newest_vault, quarantine } = database.newest_recipients().await?;
    let vault = vault.map(|vault| vault.recipient().id().to_string());
    let sealer = sealer.map(|sealer| sealer.recipient().id().to_string());
    let both = [("vault.recipient", vault, newest_vault), ("quarantine.recipient", sealer, quarantine)];
    let differing = both.into_iter().filter_map(|(setting, configured, newest)| {
        let (configured, newest) = (configured?, newest?);
        (configured != newest).then_some(Changed { setting, configured, newest })
    });
    Ok(differing.collect())
}

/// Says in the log what is different. It is no reason not to work: recipients are changed on purpose, too.
pub(crate) async fn warn_if_changed(
    database: &Database,
    sealer: Option<&Arc<EnvelopeSealer>>,
    vault: Option<&Arc<VaultSealer>>,
) {
    match changed(database, sealer, vault).await {
        Ok(changed) => {
            for Changed { setting, configured, newest } in changed {
                warn!(
                    event = "recipient_changed",
                    setting,
                    configured,
                    newest,
                    "sealing to another recipient than the one to whom the newest in the database is sealed; unless somebody changed it on \
                     purpose, somebody else did"
                );
            }
        }
        Err(error) => warn!(
            event = "recipient_not_compared",
            %error,
            "whether the recipients are those of before is not known"
        ),
    }
}
