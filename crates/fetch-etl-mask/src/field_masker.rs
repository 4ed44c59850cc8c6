use std::fmt;

use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};

use crate::hmac_sha512::Form;
use crate::{HmacSha512Masker, Method, sha512};

/// What stands before the part that a partial mask keeps.
const HIDDEN_PART: &str = "…";

/// Masks each field by its own method, the keyed ones with the keys of a ring, up to the one in force. Made by a
/// [`MaskPlan`](crate::MaskPlan).
pub struct FieldMasker {
    pub(crate) key_id: KeyId,
    pub(crate) chain: Chain,
    pub(crate) rules: Vec<(Box<str>, Method)>,
    pub(crate) default: Method,
}

/// How a keyed mask comes about.
pub(crate) struct Chain {
    /// The first key; `None` where the oldest masks are plain SHA-512.
    pub(crate) base: Option<HmacSha512Masker>,
    /// The keys that the mask is masked with after that, in turn.
    pub(crate) steps: Vec<HmacSha512Masker>,
}

impl Chain {
    pub(crate) fn digest(&self, field: &str, form: Form, value: &Pii<str>) -> [u8; 64] {
        let first = match &self.base {
            Some(base) => base.digest(field, form, value),
            None => sha512::digest(value),
        };
        self.steps.iter().fold(first, |mask, step| step.remask(field, &mask))
    }
}

impl FieldMasker {
    /// The method of a field.
    pub fn method(&self, field: &str) -> &Method {
        // A schema masks a handful of fields: a search in order is faster than a hash.
        self.rules.iter().find(|(name, _)| **name == *field).map_or(&self.default, |(_, method)| method)
    }
}

impl FieldMasker {
    /// Whether some field's masks are plain SHA-512, which can be reversed by trying all values: by its method, or because the key of its
    /// ring is not in force yet.
    pub fn is_reversible(&self) -> bool {
        let plain = |method: &Method| match method {
            Method::Sha512 => true,
            Method::HmacSha512 => self.key_id == KeyId::UNKEYED,
            _ => false,
        };
        self.rules.iter().any(|(_, method)| plain(method))
    }
}

impl Masker for FieldMasker {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        let keyed = |form| MaskedValue::from_digest(self.chain.digest(field, form, value));
        match self.method(field) {
            Method::HmacSha512 => Some(keyed(Form::Whole)),
            Method::IpPrefix => Some(keyed(Form::Network)),
            Method::Sha512 => Some(MaskedValue::from_digest(sha512::digest(value))),
            Method::Drop => None,
            Method::Redact(text) => Some(MaskedValue::from_masked_text(text.clone())),
            Method::Partial(chars) => Some(partial(value, usize::from(*chars))),
        }
    }

    fn key_id(&self) -> KeyId {
        self.key_id
    }
}

/// The last characters; none where they would be more than half of the value. Its length does not show.
fn partial(value: &Pii<str>, chars: usize) -> MaskedValue {
    let text = value.expose();
    let start = text.char_indices().rev().nth(chars - 1).map(|(start, _)| start);
    let shown = start.map(|start| &text[start..]).filter(|_| text.chars().count() >= chars * 2);
    // A NUL, which Postgres cannot hold, has no place in a row.
    let shown = shown.filter(|shown| !shown.contains('\0')).unwrap_or_default();
    MaskedValue::from_masked_text(format!("{HIDDEN_PART}{shown}"))
}

impl fmt::Debug for FieldMasker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldMasker")
            .field("key_id", &self.key_id)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_mask_keeps_at_most_half_and_hides_the_length() {
        let mask = |value: &str, chars| partial(Pii::wrap(value), chars).to_text();
        assert_eq!(mask("593-47-5928", 4), "…5928");
        assert_eq!(mask("12345678", 4), "…5678");
        assert_eq!(mask("1234567", 4), "…");
        assert_eq!(mask("", 1), "…");
        assert_eq!(mask("éàüöß", 2), "…öß");
        assert_eq!(mask("123456\0", 2), "…");
    }
}
