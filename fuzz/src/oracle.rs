//! The rules of a login message once more, written from the documentation, on top of another JSON reader than the core's.

use std::fmt;

use fetch_etl_core::RejectReason;
use fetch_etl_core::login::LoginRow;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The six fields.
pub(crate) const FIELDS: [&str; 6] = ["user_id", "app_version", "device_type", "ip", "locale", "device_id"];

/// A JSON object as it stands there: in order, and with what stands twice.
pub(crate) struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Object {
    fn all(&self, name: &str) -> Vec<&Value> {
        self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// The text of a field that stands there; `None` for null.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.all(name).first().and_then(|value| value.as_str())
    }

    /// How many members have no known name.
    pub(crate) fn unknown(&self) -> u64 {
        self.0.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str())).count() as u64
    }

    /// Everything that is wrong with it.
    pub(crate) fn problems(&self) -> Vec<RejectReason> {
        let mut problems = Vec::new();
        for field in FIELDS {
            match self.all(field).as_slice() {
                [] => problems.push(RejectReason::MissingField),
                [value] => problems.extend(problems_of(field, value)),
                _ => problems.push(RejectReason::DuplicateField),
            }
        }
        problems
    }
}

fn problems_of(field: &str, value: &Value) -> Vec<RejectReason> {
    let text = match value {
        Value::String(text) => text,
        Value::Null if field == "user_id" => return vec![RejectReason::NullField],
        Value::Null => return vec![],
        _ => return vec![RejectReason::WrongType],
    };
    let room = match field {
        "user_id" => LoginRow::USER_ID_CHARS,
        "app_version" => LoginRow::APP_VERSION_CHARS,
        "device_type" => LoginRow::DEVICE_TYPE_CHARS,
        "locale" => LoginRow::LOCALE_CHARS,
        // Only their masks are stored.
        _ => return vec![],
    };
    let mut problems = Vec::new();
    if text.chars().count() > room {
        problems.push(RejectReason::TooLong);
    }
    if text.contains('\0') {
        problems.push(RejectReason::NulCharacter);
    }
    if field == "user_id" && text.is_empty() {
        problems.push(RejectReason::EmptyField);
    }
    if field == "app_version" && version(text).is_none() {
        problems.push(RejectReason::InvalidVersion);
    }
    problems
}

/// A version as one number, where it can hold it; `None` where the text is none.
pub(crate) fn version(text: &str) -> Option<Option<i32>> {
    let parts: Vec<&str> = text.split('.').collect();
    if !parts.iter().all(|part| !part.is_empty() && part.chars().all(|char| char.is_ascii_digit())) {
        return None;
    }
    // Digits past what u128 holds are past what i32 holds too.
    let numbers: Option<Vec<u128>> = parts.iter().map(|part| part.parse().ok()).collect();
    let number = numbers.and_then(|numbers| match numbers.as_slice() {
        [major] => Some((*major, 0, 0)),
        [major, minor] => Some((*major, *minor, 0)),
        [major, minor, patch] => Some((*major, *minor, *patch)),
        _ => None,
    });
    let fits =
        number.filter(|(major, minor, patch)| *major <= i32::MAX as u128 && *minor <= 999 && *patch <= 999);
    Some(fits.and_then(|(major, minor, patch)| i32::try_from(major * 1_000_000 + minor * 1_000 + patch).ok()))
}
