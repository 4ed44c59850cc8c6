//! What a key's id beside a row says, and that it stays true: which key the row's masks were made with, and that they were made so.

use etl_worker::failure::Failure;
use fetch_etl_core::{KeyId, KeyRows, MaskPolicy};
use fetch_etl_mask::{MaskPlan, Method};

use crate::words::counted;

const SAME_KEY: &str = "rotate brings rows up to a key that follows on theirs (etl-admin keygen master --add-to FILE); any other key \
                        needs an id that no row has, as a line ID:KEY; --reuse-key-id is for the very key and methods of those rows";

/// What is stored under key ids.
pub(crate) struct Stored<'a> {
    /// The rows.
    pub(crate) rows: &'a [KeyRows],
    /// What the vault keeps, perhaps of rows that are gone: a rotation would take it for what the id says.
    pub(crate) vault: &'a [(KeyId, u64)],
}

impl Stored<'_> {
    /// The rows of this key, and in words what has its id.
    fn of(&self, id: KeyId) -> Option<(Option<&KeyRows>, String)> {
        if let Some(rows) = self.rows.iter().find(|rows| rows.key_id == Some(id)) {
            return Some((Some(rows), counted(rows.rows, "row has", "rows have")));
        }
        let (_, values) = self.vault.iter().find(|(kept, _)| *kept == id)?;
        Some((None, counted(*values, "value of the vault has", "values of the vault have")))
    }
}

/// That rows which are masked under the key of `policy` from now on can be told from those that are there by the key's id.
///
/// # Errors
/// They cannot: it is the id of another key in the policy in force, whether there are rows yet or not, for workers may write the first one
/// at any time; or rows have that id already with another method, or nobody knows whether it is the same key. The last of the three
/// `reuse` answers.
pub(crate) fn refuse_reused(
    policy: &MaskPolicy,
    in_force: Option<&MaskPolicy>,
    stored: &Stored<'_>,
    plan: &MaskPlan,
    reuse: bool,
) -> Result<(), Failure> {
    let id = policy.key_id;
    // Without a key there is one way only.
    if id == KeyId::UNKEYED {
        return Ok(());
    }
    let same_id = in_force.filter(|in_force| in_force.key_id == id);
    if same_id.is_some_and(|in_force| in_force.key_check != policy.key_check) {
        return Err(Failure::failed(format!(
            "the key id {} is that of another key or domain in the policy in force: nobody could tell the masks of one from those of \
             the other",
            id.get()
        ))
        .hint(format!(
            "rotate brings rows up to a key that follows on theirs (etl-admin keygen master --add-to FILE); any other key, or the same \
             in another domain, needs an id of its own in the key file, as a line {}:KEY",
            id.get().saturating_add(1)
        )));
    }
    let Some((rows, has)) = stored.of(id) else { return Ok(()) };
    match same_id {
        Some(in_force) if !reuse => {
            let digests_in = |field| rows.map_or(0, |rows| rows.digests_in(field));
            let changed = plan.rules().find(|(field, method)| {
                makes_digests(method) && in_force.method_of(field) != Some(method.name()) && digests_in(field) > 0
            });
            let Some((field, method)) = changed else { return Ok(()) };
            Err(Failure::failed(format!(
                "{has} already the key id {}, and masks of {field} that look like those of {}, which it is to have now: nobody could \
                 tell them from new ones",
                id.get(),
                method.name()
            ))
            .hint(SAME_KEY))
        }
        None if !reuse => Err(Failure::failed(format!(
            "{has} already the key id {}, and whether their masks are of this very key is not known: the policy in force has another one",
            id.get()
        ))
        .hint(SAME_KEY)),
        _ => Ok(()),
    }
}

/// That no row of an older key would be given the id of the newest while one of its masks stays what it is.
///
/// # Errors
/// A field has masks of an older key, and its method of today makes none that depend on a key.
pub(crate) fn refuse_left_behind(
    rows: &[KeyRows],
    origins: &[KeyId],
    plan: &MaskPlan,
    unnamed: Option<KeyId>,
) -> Result<(), Failure> {
    let old: Vec<_> =
        rows.iter().filter(|rows| rows.key_id.or(unnamed).is_some_and(|id| origins.contains(&id))).collect();
    for (field, method) in plan.rules().filter(|(_, method)| !makes_digests(method)) {
        let left: u64 = old.iter().map(|rows| rows.digests_in(field)).sum();
        if left > 0 {
            let ids: Vec<_> = origins.iter().map(|id| id.get().to_string()).collect();
            let of_older_keys = format!("mask_key_id IN ({})", ids.join(", "));
            let or_unnamed = match unnamed {
                Some(_) => format!("({of_older_keys} OR mask_key_id IS NULL)"),
                None => of_older_keys.clone(),
            };
            return Err(Failure::failed(format!(
                "{} masks of {field} from before its method was {}: they cannot be brought up to the newest key, and its id beside them \
                 would be untrue",
                counted(left, "row has", "rows have"),
                method.name()
            ))
            .hint(format!(
                "give {field} its method of before back for the rotation; or remove those masks: DELETE FROM etl.pii_vault WHERE field = \
                 '{field}' AND {of_older_keys} (Postgres only), then UPDATE user_logins SET masked_{field} = NULL WHERE \
                 length(masked_{field}) = 128 AND {or_unnamed}"
            )));
        }
    }
    Ok(())
}

/// Whether a method's masks are digests, which look alike whatever made them.
fn makes_digests(method: &Method) -> bool {
    method.is_keyed() || matches!(method, Method::Sha512)
}

#[cfg(test)]
mod tests {
    use fetch_etl_mask::KeyRing;

    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn plan(ring: &str, domain: &str, device_id: Method) -> MaskPlan {
        let ring = KeyRing::from_text(ring).unwrap();
        let rules = [("ip", Method::HmacSha512), ("device_id", device_id)];
        MaskPlan::new(Some(ring), domain, Method::HmacSha512, rules).unwrap()
    }

    fn policy(plan: &MaskPlan) -> MaskPolicy {
        plan.policy(plan.newest()).unwrap()
    }

    fn rows(key_id: i32, device_ids: u64) -> KeyRows {
        KeyRows {
            key_id: Some(KeyId::new(key_id)),
            rows: 3,
            digests: vec![("ip", 3), ("device_id", device_ids)],
        }
    }

    #[test]
    fn an_id_that_rows_have_stays_the_id_of_the_key_and_the_methods_that_they_were_masked_with() {
        let first = plan(A, "default", Method::HmacSha512);
        let refused = |new: &MaskPlan, in_force: Option<&MaskPlan>, rows: &[KeyRows], reuse| {
            let stored = Stored { rows, vault: &[] };
            refuse_reused(&policy(new), in_force.map(policy).as_ref(), &stored, new, reuse)
                .map_err(|failure| failure.to_string())
        };
        let there = [rows(1, 3)];
        let other = plan(B, "default", Method::HmacSha512);
        for reuse in [false, true] {
            // Also before there is a row: a worker may write the first one meanwhile.
            for rows in [&there[..], &[]] {
                let said = refused(&other, Some(&first), rows, reuse).unwrap_err();
                assert!(said.starts_with("the key id 1 is that of another key or domain"), "{said}");
            }
            refused(&plan(A, "eu", Method::HmacSha512), Some(&first), &there, reuse).unwrap_err();
            refused(&plan(&format!("7:{B}"), "default", Method::HmacSha512), Some(&first), &there, reuse)
                .unwrap();
            refused(&plan(A, "default", Method::Redact("x".into())), Some(&first), &there, reuse).unwrap();
        }
        // Another method whose masks look the same.
        let plain = plan(A, "default", Method::Sha512);
        refused(&plain, Some(&first), &there, false).unwrap_err();
        refused(&plain, Some(&first), &[rows(1, 0)], false).unwrap();
        // Back to an older key: that it is the same, somebody must say.
        let newer = plan(&format!("1:{A}\n2:{B}"), "default", Method::HmacSha512);
        for in_force in [None, Some(&newer)] {
            let said = refused(&first, in_force, &there, false).unwrap_err();
            assert!(said.contains("is not known"), "{said}");
            refused(&first, in_force, &there, true).unwrap();
        }
    }

    #[test]
    fn an_id_that_only_the_vault_has_counts() {
        let (first, newer) =
            (plan(A, "default", Method::HmacSha512), plan(&format!("2:{B}"), "default", Method::HmacSha512));
        let refused = |vault: &[(KeyId, u64)], reuse| {
            let stored = Stored { rows: &[], vault };
            refuse_reused(&policy(&first), Some(&policy(&newer)), &stored, &first, reuse)
                .map_err(|failure| failure.to_string())
        };
        let said = refused(&[(KeyId::new(1), 2)], false).unwrap_err();
        assert!(said.starts_with("2 values of the vault have already the key id 1"), "{said}");
        refused(&[(KeyId::new(1), 2)], true).unwrap();
        refused(&[(KeyId::new(3), 2)], false).unwrap();
    }

    #[test]
    fn masks_that_a_rotation_would_leave_are_found() {
        let ring = format!("1:{A}\n2:{B}");
        let redacting = plan(&ring, "default", Method::Redact("x".into()));
        let refused = |plan: &MaskPlan, rows: &[KeyRows], unnamed| {
            refuse_left_behind(rows, &[KeyId::new(1)], plan, unnamed).map_err(|failure| failure.to_string())
        };
        let said = refused(&redacting, &[rows(1, 2), rows(2, 1)], None).unwrap_err();
        assert!(
            said.starts_with("2 rows have masks of device_id from before its method was redact"),
            "{said}"
        );
        refused(&redacting, &[rows(1, 0), rows(2, 1), rows(7, 1)], None).unwrap();
        refused(&plan(&ring, "default", Method::HmacSha512), &[rows(1, 2)], None).unwrap();
        refused(&plan(&ring, "default", Method::Sha512), &[rows(1, 2)], None).unwrap();
        let unnamed = [KeyRows { key_id: None, ..rows(1, 2) }];
        refused(&redacting, &unnamed, None).unwrap();
        refused(&redacting, &unnamed, Some(KeyId::new(1))).unwrap_err();
    }
}
