//! What a key's id beside a row says, and that it stays true: which key the row's masks were made with, and that they were made so.

use etl_worker::failure::Failure;
use fetch_etl_core::{KeyId, KeyRows, MaskPolicy};
use fetch_etl_mask::{MaskPlan, Method};

use crate::words::counted;

const SAME_KEY: &str = "rotate brings rows up to a key that follows on theirs (etl-admin keygen master --add-to FILE); any other key \
                        needs an id that no row has, as a line ID:KEY; --reuse-key-id is for the very key and methods of those rows";

/// That rows which are masked under the key of `policy` from now on can be told from those that are there by the key's id.
///
/// # Errors
/// They cannot: rows have that id already, and it is another key, or another method, or nobody knows whether it is. The last of the three
/// `reuse` answers.
pub(crate) fn refuse_reused(
    policy: &MaskPolicy,
    in_force: Option<&MaskPolicy>,
    rows: &[KeyRows],
    plan: &MaskPlan,
    reuse: bool,
) -> Result<(), Failure> {
    let id = policy.key_id;
    let Some(there) = rows.iter().find(|rows| rows.key_id == Some(id)) else { return Ok(()) };
    // Without a key there is one way only.
    if id == KeyId::UNKEYED {
        return Ok(());
    }
    let has = format!("{} already", counted(there.rows, "row has", "rows have"));
    match in_force.filter(|in_force| in_force.key_id == id) {
        Some(in_force) if in_force.key_check != policy.key_check => Err(Failure::failed(format!(
            "{has} the key id {}, which is the id of another key or domain in the policy in force: nobody could tell their masks from \
             new ones",
            id.get()
        ))
        .hint("rotate brings rows up to a key that follows on theirs (etl-admin keygen master --add-to FILE); any other key, or the \
               same in another domain, needs an id that no row has, as a line ID:KEY")),
        Some(in_force) if !reuse => {
            let changed = plan.rules().find(|(field, method)| {
                makes_digests(method) && in_force.method_of(field) != Some(method.name()) && there.digests_in(field) > 0
            });
            let Some((field, method)) = changed else { return Ok(()) };
            Err(Failure::failed(format!(
                "{has} the key id {}, and masks of {field} that look like those of {}, which it is to have now: nobody could tell them \
                 from new ones",
                id.get(),
                method.name()
            ))
            .hint(SAME_KEY))
        }
        None if !reuse => Err(Failure::failed(format!(
            "{has} the key id {}, and whether their masks are of this very key is not known: the policy in force has another one",
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
            return Err(Failure::failed(format!(
                "{} masks of {field} from before its method was {}: they cannot be brought up to the newest key, and its id beside them \
                 would be untrue",
                counted(left, "row has", "rows have"),
                method.name()
            ))
            .hint(format!(
                "give {field} its method of before back for the rotation; or remove those masks: DELETE FROM etl.pii_vault WHERE field = \
                 '{field}' (Postgres only), then UPDATE user_logins SET masked_{field} = NULL WHERE length(masked_{field}) = 128"
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
            refuse_reused(&policy(new), in_force.map(policy).as_ref(), rows, new, reuse)
                .map_err(|failure| failure.to_string())
        };
        let there = [rows(1, 3)];
        let other = plan(B, "default", Method::HmacSha512);
        for reuse in [false, true] {
            let said = refused(&other, Some(&first), &there, reuse).unwrap_err();
            assert!(
                said.starts_with("3 rows have already the key id 1, which is the id of another key"),
                "{said}"
            );
            refused(&plan(A, "eu", Method::HmacSha512), Some(&first), &there, reuse).unwrap_err();
            refused(&plan(&format!("7:{B}"), "default", Method::HmacSha512), Some(&first), &there, reuse)
                .unwrap();
            refused(&other, Some(&first), &[], reuse).unwrap();
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
