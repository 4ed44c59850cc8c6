//! The sealer that a configuration asks for: what it seals, this process cannot open.

use std::sync::Arc;
use std::time::Duration;

use fetch_etl_mask::MaskPlan;
use fetch_etl_seal::{EnvelopeSealer, Purpose, Recipient, VaultSealer};
use tokio_util::task::AbortOnDropHandle;

use crate::failure::Failure;
use crate::settings::{KeySource, RecipientSettings, VaultSettings};

const NEW_KEY: &str = "etl-admin keygen makes a key pair; the worker gets its public half";

/// How often a look is taken at whether the data key has done its time.
const LOOK_EACH: Duration = Duration::from_secs(60);

/// Makes the sealer for rejected messages, where a recipient is set.
///
/// # Errors
/// The key is none that can be sealed to. It is not shown: it might be the private one.
pub fn build(settings: Option<&RecipientSettings>) -> Result<Option<Arc<EnvelopeSealer>>, Failure> {
    let Some(settings) = settings else { return Ok(None) };
    let recipient = recipient_of("quarantine", settings)?;
    Ok(Some(Arc::new(EnvelopeSealer::new(recipient, Purpose::Quarantine))))
}

fn recipient_of(section: &str, settings: &RecipientSettings) -> Result<Recipient, Failure> {
    let RecipientSettings { key, key_from } = settings;
    Recipient::from_text(key.expose()).map_err(|error| match key_from {
        KeySource::Value => Failure::usage(format!("{section}.recipient: {error}")).hint(NEW_KEY),
        KeySource::File(file) => {
            Failure::usage(format!("{section}.recipient_file: {}: {error}", file.display())).hint(NEW_KEY)
        }
    })
}

/// Makes the vault's sealer, where a recipient is set, for the fields whose masks stand for one value.
///
/// # Errors
/// The key is none that can be sealed to. It is not shown: it might be the private one.
pub fn vault(settings: Option<&VaultSettings>, plan: &MaskPlan) -> Result<Option<Arc<VaultSealer>>, Failure> {
    let Some(VaultSettings { recipient, cache_values }) = settings else { return Ok(None) };
    let recipient = recipient_of("vault", recipient)?;
    let fields = plan.rules().filter(|(_, method)| method.identifies()).map(|(field, _)| field);
    Ok(Some(Arc::new(VaultSealer::new(recipient, *cache_values).with_fields(fields))))
}

/// Forgets data keys that have expired, also when nothing is sealed for hours, until what it returns is dropped. To be called
/// within a runtime.
pub(crate) fn forget_expired_keys(
    sealer: Option<Arc<EnvelopeSealer>>,
    vault: Option<Arc<VaultSealer>>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EACH).await;
            sealer.as_ref().map(|sealer| sealer.forget_expired());
            vault.as_ref().map(|vault| vault.forget_expired());
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fetch_etl_seal::KeyPair;

    use super::*;
    use crate::settings::Secret;

    #[test]
    fn a_private_key_is_refused_with_its_place_and_without_it() {
        let pair = KeyPair::generate().unwrap();
        let private = pair.to_private_text().unwrap();
        for (key_from, place) in [
            (KeySource::Value, "quarantine.recipient: this is a private key"),
            (
                KeySource::File(PathBuf::from("/run/key")),
                "quarantine.recipient_file: /run/key: this is a private key",
            ),
        ] {
            let settings = RecipientSettings { key: Secret::new(private.as_str()), key_from };
            let said = build(Some(&settings)).map(|_| ()).unwrap_err().to_string();
            assert!(said.starts_with(place), "{said}");
            assert!(!said.contains(private.rsplit(':').next().unwrap()), "{said}");
        }
        let settings =
            RecipientSettings { key: Secret::new(pair.recipient().to_text()), key_from: KeySource::Value };
        assert_eq!(build(Some(&settings)).unwrap().unwrap().recipient().id(), pair.recipient().id());
        assert!(build(None).unwrap().is_none());
    }
}
