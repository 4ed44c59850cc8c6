//! The masking policy of a fleet: what must be the same for all workers that write to one table.

use async_trait::async_trait;

use crate::{ErrorClass, KeyId, SinkCode, SinkError};

/// What decides which mask a value gets. Two workers with equal policies give every value the same mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskPolicy {
    /// Each masked field with its method, such as `ip=hmac-sha512 device_id=partial:4`.
    pub methods: String,
    /// The key in force; [`KeyId::UNKEYED`] where there is none.
    pub key_id: KeyId,
    /// A value that the key determines and that does not give the key away; empty where there is no key.
    pub key_check: String,
    /// The name of the data set.
    pub domain: String,
    /// The version of the canonical form that values are brought into before they are masked.
    pub canonical_version: i32,
}

impl MaskPolicy {
    /// What is different in this policy from the one in force, each in a few words; nothing where they are equal.
    pub fn differences(&self, in_force: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut compare = |what: &str, here: &str, there: &str| {
            if here != there {
                found.push(format!("{what} is {here} here and {there} in the database"));
            }
        };
        compare("the method", &self.methods, &in_force.methods);
        compare("the key id", &self.key_id.get().to_string(), &in_force.key_id.get().to_string());
        compare("the domain", &self.domain, &in_force.domain);
        let version = |policy: &Self| policy.canonical_version.to_string();
        compare("the canonical form", &version(self), &version(in_force));
        // With another id it is another key anyway.
        if self.key_id == in_force.key_id && self.key_check != in_force.key_check {
            found
                .push(format!("key {} is not the key that the database knows by this id", self.key_id.get()));
        }
        found
    }

    /// The name of a field's method, without what follows it (`partial`, not `partial:4`); `None` where the policy does not name the field.
    pub fn method_of(&self, field: &str) -> Option<&str> {
        let mut rest = self.methods.as_str();
        loop {
            let (name, after) = rest.split_once('=')?;
            let end = after.find([' ', ':']).unwrap_or(after.len());
            let (method, tail) = after.split_at(end);
            if name == field {
                return Some(method);
            }
            // A text in quotes may hold anything, also what looks like another field.
            rest = after_text(tail).split_once(' ')?.1;
        }
    }
}

/// What stands behind `:"…"`, where that is what comes next.
fn after_text(tail: &str) -> &str {
    let Some(text) = tail.strip_prefix(":\"") else { return tail };
    let mut escaped = false;
    let end = text.find(|character| {
        let ends = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    end.map_or("", |end| &text[end..])
}

/// The policy that a store holds its writers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInForce {
    /// Grows with every change.
    pub version: i64,
    /// The policy.
    pub policy: MaskPolicy,
}

/// A store that knows the policy in force and writes nothing under another one: the fence around a fleet.
///
/// Two kinds of masks in one column would mean that equal values are no longer equal, and nobody would notice.
///
/// The contract suite in `fetch-etl-testing` checks what is said here.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The policy in force; `None` before the first worker has written its own down.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn policy_in_force(&self) -> Result<Option<PolicyInForce>, SinkError>;

    /// Puts a policy in force in the place of the one with the version `replaces`, or where there is none yet. `None`, and
    /// nothing is changed, where another one is in force: somebody was faster.
    ///
    /// Writes under the old policy are finished when it returns, and there are no later ones.
    ///
    /// # Errors
    /// Nothing is known to be changed.
    async fn put_in_force(
        &self,
        policy: &MaskPolicy,
        replaces: Option<i64>,
    ) -> Result<Option<PolicyInForce>, SinkError>;

    /// The key ids beside the stored rows, each once; `None` stands for rows from before there were ids. It may have to read the
    /// whole table.
    ///
    /// # Errors
    /// Nothing could be read.
    async fn key_ids_in_use(&self) -> Result<Vec<Option<KeyId>>, SinkError>;

    /// From now on every write through this sink checks that the policy with this version is in force, in the same transaction,
    /// and otherwise ends in [`policy_changed`]. Before the first call nothing is checked.
    fn hold_to(&self, version: i64);
}

/// The error of a write that finds another policy in force than the one that the sink holds to.
pub fn policy_changed() -> SinkError {
    let text =
        "the masking policy in the database was changed meanwhile; nothing is written under the old one";
    SinkError::new(ErrorClass::Fatal, text).with_code(Some(SinkCode::POLICY_CHANGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> MaskPolicy {
        MaskPolicy {
            methods: "ip=hmac-sha512".to_owned(),
            key_id: KeyId::new(1),
            key_check: "ab".to_owned(),
            domain: "default".to_owned(),
            canonical_version: 1,
        }
    }

    #[test]
    fn equal_policies_do_not_differ_and_every_difference_is_named() {
        assert_eq!(policy().differences(&policy()), Vec::<String>::new());
        let other = MaskPolicy {
            methods: "ip=sha512".to_owned(),
            key_id: KeyId::UNKEYED,
            key_check: String::new(),
            domain: "eu".to_owned(),
            canonical_version: 2,
        };
        assert_eq!(
            other.differences(&policy()),
            [
                "the method is ip=sha512 here and ip=hmac-sha512 in the database",
                "the key id is 0 here and 1 in the database",
                "the domain is eu here and default in the database",
                "the canonical form is 2 here and 1 in the database",
            ]
        );
    }

    #[test]
    fn a_fields_method_is_read_from_the_policy_whatever_a_text_says() {
        let text = r#"ip=redact:"\" device_id=sha512 \\" device_id=partial:4 other=drop"#;
        let policy = MaskPolicy { methods: text.to_owned(), ..policy() };
        let method = |field| policy.method_of(field);
        assert_eq!(method("ip"), Some("redact"));
        assert_eq!(method("device_id"), Some("partial"));
        assert_eq!(method("other"), Some("drop"));
        assert_eq!(method("locale"), None);
    }

    #[test]
    fn another_key_under_the_same_id_shows_and_its_check_value_does_not() {
        let other = MaskPolicy { key_check: "cd".to_owned(), ..policy() };
        assert_eq!(other.differences(&policy()), ["key 1 is not the key that the database knows by this id"]);
    }
}
