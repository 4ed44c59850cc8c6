use fetch_etl_core::{KeyId, MaskPolicy, Pii};

use crate::field_masker::Chain;
use crate::hmac_sha512::{Form, VERSION};
use crate::key_ring::Link;
use crate::{FieldMasker, HmacSha512Masker, KeyRing, MaskerError, Method, Remasker};

/// The field whose mask is the key's check value. No event has a field of that name.
const CHECK_FIELD: &str = "#policy";
/// Hexadecimal characters of a check value: 128 bits, of a mask that nobody can reverse without the key.
const CHECK_CHARS: usize = 32;

/// What a fleet agrees on: a method for each field, the keys, the name of the data set.
///
/// ```
/// use fetch_etl_core::{KeyId, Masker, Pii};
/// use fetch_etl_mask::{KeyRing, MaskPlan, Method};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ring = KeyRing::from_text("1:pXhJ8mCf0bQZVnq1k8Gd5sYw2u7TeLrA4oNcHiB9xzM=")?;
/// let rules = [("ip", Method::IpPrefix), ("device_id", Method::Partial(4))];
/// let plan = MaskPlan::new(Some(ring), "default", Method::HmacSha512, rules)?;
/// let masker = plan.masker(KeyId::new(1)).ok_or("no such key")?;
/// assert_eq!(masker.mask("ip", Pii::wrap("192.0.2.1")), masker.mask("ip", Pii::wrap("192.0.2.99")));
/// assert_eq!(masker.mask("device_id", Pii::wrap("593-47-5928")).ok_or("dropped")?.to_text(), "…5928");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MaskPlan {
    ring: Option<KeyRing>,
    domain: Box<str>,
    default: Method,
    rules: Vec<(Box<str>, Method)>,
}

/// Why methods and keys do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A method needs a key, and there is none.
    #[error("{field} is masked with {method}, which needs a key")]
    NeedsKey {
        /// The field.
        field: Box<str>,
        /// Its method.
        method: &'static str,
    },
    /// A key is configured and no method uses it: somebody expects more protection than there is.
    #[error("a key is set, but no field is masked with a method that uses one")]
    UnusedKey,
    /// `ip-prefix` with a ring that begins with plain SHA-512, which knows nothing of networks.
    #[error(
        "{field} is masked with ip-prefix, which cannot follow on plain SHA-512 (0:sha512 in the key ring)"
    )]
    PrefixOfPlain {
        /// The field.
        field: Box<str>,
    },
    /// The domain or a key's id is not allowed.
    #[error("{0}")]
    Masker(#[from] MaskerError),
}

impl MaskPlan {
    /// A plan. `default` is the method of fields that have no rule.
    ///
    /// # Errors
    /// Methods and keys do not fit together, or the domain's name is not allowed.
    pub fn new<'f>(
        ring: Option<KeyRing>,
        domain: &str,
        default: Method,
        rules: impl IntoIterator<Item = (&'f str, Method)>,
    ) -> Result<Self, PlanError> {
        let rules: Vec<(Box<str>, Method)> =
            rules.into_iter().map(|(field, method)| (field.into(), method)).collect();
        let keyed = rules.iter().find(|(_, method)| method.is_keyed());
        match (&ring, keyed) {
            (None, Some((field, method))) => {
                return Err(PlanError::NeedsKey { field: field.clone(), method: method.name() });
            }
            (Some(_), None) => return Err(PlanError::UnusedKey),
            _ => {}
        }
        if ring.as_ref().is_some_and(KeyRing::begins_plain)
            && let Some((field, _)) = rules.iter().find(|(_, method)| *method == Method::IpPrefix)
        {
            return Err(PlanError::PrefixOfPlain { field: field.clone() });
        }
        let plan = Self { ring, domain: domain.into(), default, rules };
        // What is wrong with the domain shall show now.
        plan.maskers(plan.links())?;
        Ok(plan)
    }

    /// The methods of the fields that have a rule.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &Method)> {
        self.rules.iter().map(|(field, method)| (&**field, method))
    }

    /// The newest key; [`KeyId::UNKEYED`] where there is none.
    pub fn newest(&self) -> KeyId {
        self.ring.as_ref().map_or(KeyId::UNKEYED, KeyRing::newest)
    }

    /// All keys, oldest first; [`KeyId::UNKEYED`] alone where there is none.
    pub fn key_ids(&self) -> Vec<KeyId> {
        self.ring.as_ref().map_or_else(|| vec![KeyId::UNKEYED], |ring| ring.key_ids().collect())
    }

    /// The ids of keys that [look made up](crate::MasterKey::looks_made_up).
    pub fn made_up_keys(&self) -> Vec<KeyId> {
        self.ring.as_ref().map_or_else(Vec::new, |ring| ring.made_up_keys().collect())
    }

    /// The masker with this key in force; `None` where the plan does not have it.
    pub fn masker(&self, in_force: KeyId) -> Option<FieldMasker> {
        let (rules, default) = (self.rules.clone(), self.default.clone());
        let chain = match &self.ring {
            None if in_force == KeyId::UNKEYED => Chain { base: None, steps: Vec::new() },
            None => return None,
            Some(_) => self.chain(in_force)?,
        };
        Some(FieldMasker { key_id: in_force, chain, rules, default })
    }

    /// The policy with this key in force; `None` where the plan does not have it.
    pub fn policy(&self, in_force: KeyId) -> Option<MaskPolicy> {
        let masker = self.masker(in_force)?;
        // Before the first rotation of a ring that begins plain, the keyed method is plain SHA-512, as for workers without a key.
        let made_by = |method: &Method| match method {
            Method::HmacSha512 if in_force == KeyId::UNKEYED => Method::Sha512,
            other => other.clone(),
        };
        let methods: Vec<_> =
            self.rules.iter().map(|(field, method)| format!("{field}={}", made_by(method))).collect();
        Some(MaskPolicy {
            methods: methods.join(" "),
            key_id: in_force,
            key_check: if in_force == KeyId::UNKEYED { String::new() } else { check_value(&masker.chain) },
            domain: self.domain.to_string(),
            canonical_version: VERSION.into(),
        })
    }

    /// The masker that a policy asks for: with the very key that is in force, even where the plan has newer ones, which are in force
    /// only after a rotation.
    ///
    /// # Errors
    /// What is different.
    pub fn masker_for(&self, in_force: &MaskPolicy) -> Result<FieldMasker, Vec<String>> {
        let key_id = if self.key_ids().contains(&in_force.key_id) { in_force.key_id } else { self.newest() };
        // One of the two is a key of this plan.
        let (Some(masker), Some(policy)) = (self.masker(key_id), self.policy(key_id)) else {
            return Err(vec!["there is no key".to_owned()]);
        };
        let differences = policy.differences(in_force);
        if differences.is_empty() { Ok(masker) } else { Err(differences) }
    }

    /// What brings masks up to the key `to`; `None` where the plan does not have it.
    pub fn remasker(&self, to: KeyId) -> Option<Remasker> {
        let index = self.links().iter().position(|(id, _)| *id == to)?;
        let links = self.links().get(..=index)?;
        let keyed = links.iter().filter(|(_, link)| matches!(link, Link::Key(_)));
        let ids = keyed.map(|(id, _)| *id);
        let steps = ids.zip(self.maskers(links).ok()?).collect();
        let first = links.first().map(|(id, _)| *id)?;
        let fields = self.rules.iter().filter(|(_, method)| method.is_keyed());
        Some(Remasker::new(first, steps, fields.map(|(field, _)| field.clone()).collect()))
    }

    fn links(&self) -> &[(KeyId, Link)] {
        self.ring.as_ref().map_or(&[], KeyRing::links)
    }

    fn chain(&self, in_force: KeyId) -> Option<Chain> {
        let index = self.links().iter().position(|(id, _)| *id == in_force)?;
        let links = self.links().get(..=index)?;
        let mut maskers = self.maskers(links).ok()?;
        let begins_plain = matches!(links.first(), Some((_, Link::Plain)));
        let base = if begins_plain { None } else { Some(maskers.remove(0)) };
        Some(Chain { base, steps: maskers })
    }

    /// A masker for each key among these links, prepared for the keyed fields.
    fn maskers(&self, links: &[(KeyId, Link)]) -> Result<Vec<HmacSha512Masker>, MaskerError> {
        let fields: Vec<&str> =
            self.rules.iter().filter(|(_, method)| method.is_keyed()).map(|(field, _)| &**field).collect();
        let keys = links.iter().filter_map(|(id, link)| match link {
            Link::Plain => None,
            Link::Key(key) => Some((*id, key)),
        });
        keys.map(|(id, key)| {
            Ok(HmacSha512Masker::new(key, id, &self.domain)?.with_fields(fields.iter().copied()))
        })
        .collect()
    }
}

fn check_value(chain: &Chain) -> String {
    let digest = chain.digest(CHECK_FIELD, Form::Whole, Pii::wrap(""));
    let mut text = fetch_etl_core::MaskedValue::from_digest(digest).to_text();
    text.truncate(CHECK_CHARS);
    text
}
