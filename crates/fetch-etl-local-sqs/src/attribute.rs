//! Message attributes: their checks, their digest, and which of them a receive asks for.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::error::{ErrorKind, SqsError};
use crate::limits::{MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTES};
use crate::message::check_text;
use crate::wire::request::AttributeMap;

/// One message attribute. No `Debug`: its value may be personal data.
pub(crate) struct Attribute {
    pub(crate) name: Box<str>,
    /// `String`, `Number` or `Binary`, with an optional label after a full stop.
    pub(crate) data_type: Box<str>,
    pub(crate) value: AttributeValue,
}

/// The value as it travels: text (also of numbers) or bytes.
pub(crate) enum AttributeValue {
    Text(Box<str>),
    Binary(Box<[u8]>),
}

impl AttributeValue {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl Attribute {
    /// A text, with the checks of SendMessage.
    pub(crate) fn text(name: &str, value: &str) -> Result<Self, SqsError> {
        check_name(name)?;
        let value = check_value(name, "String", Some(value.into()), None)?;
        Ok(Self { name: name.into(), data_type: "String".into(), value })
    }

    /// What it counts against the limits: name, type and value.
    pub(crate) fn bytes(&self) -> usize {
        self.name.len() + self.data_type.len() + self.value.bytes().len()
    }
}

/// Checks the attributes of a message. They come, and stay, sorted by name.
pub(crate) fn check(attributes: AttributeMap<'_>) -> Result<Vec<Attribute>, SqsError> {
    if attributes.len() > MAX_ATTRIBUTES {
        return Err(SqsError::invalid_parameter(format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MAX_ATTRIBUTES}].",
            attributes.len()
        )));
    }
    attributes
        .into_iter()
        .map(|(name, sent)| {
            check_name(&name)?;
            check_data_type(&name, &sent.data_type)?;
            let value = check_value(&name, &sent.data_type, sent.string_value, sent.binary_value)?;
            Ok(Attribute { name: name.into(), data_type: sent.data_type.into(), value })
        })
        .collect()
}

fn check_name(name: &str) -> Result<(), SqsError> {
    let lower = name.to_ascii_lowercase();
    let well_formed = !name.is_empty()
        && name.chars().count() <= MAX_ATTRIBUTE_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..");
    if !well_formed {
        return Err(SqsError::invalid_parameter(
            "Message (user) attribute name is invalid. It can contain A-Z, a-z, 0-9, underscore, hyphen and period, \
             must not start or end with a period or have successive periods, and has 256 characters at most.",
        ));
    }
    if lower.starts_with("aws.") || lower.starts_with("amazon.") {
        return Err(SqsError::invalid_parameter(format!(
            "Message (user) attribute name '{name}' starts with a reserved prefix."
        )));
    }
    Ok(())
}

fn check_data_type(name: &str, data_type: &str) -> Result<(), SqsError> {
    if data_type.is_empty() {
        return Err(SqsError::invalid_parameter(format!(
            "The message attribute '{name}' must contain a non-empty message attribute type."
        )));
    }
    if data_type.chars().count() > MAX_ATTRIBUTE_NAME || base_type(data_type).is_none() {
        return Err(SqsError::invalid_parameter(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the following supported \
             type prefixes: Binary, Number, String."
        )));
    }
    Ok(())
}

/// The logical type without its custom label.
fn base_type(data_type: &str) -> Option<&str> {
    let base = data_type.split('.').next().unwrap_or_default();
    matches!(base, "String" | "Number" | "Binary").then_some(base)
}

fn check_value(
    name: &str,
    data_type: &str,
    text: Option<Cow<'_, str>>,
    binary: Option<Cow<'_, str>>,
) -> Result<AttributeValue, SqsError> {
    let base = base_type(data_type).unwrap_or_default();
    let empty = || {
        SqsError::invalid_parameter(format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
        ))
    };
    if base == "Binary" {
        let encoded = binary.filter(|value| !value.is_empty()).ok_or_else(empty)?;
        let bytes = STANDARD.decode(encoded.as_bytes()).map_err(|_| {
            SqsError::new(ErrorKind::Serialization, "A binary value of a message attribute is not base64.")
        })?;
        return Ok(AttributeValue::Binary(bytes.into()));
    }
    let text = text.filter(|value| !value.is_empty()).ok_or_else(empty)?;
    check_text(&text)?;
    // SQS takes numbers of up to 38 digits between 1e-128 and 1e126; the shape is all that matters here.
    if base == "Number" && !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(SqsError::invalid_parameter(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )));
    }
    Ok(AttributeValue::Text(text.into()))
}

/// The digest that SDKs compare: of each attribute, in the order of their names, the length-prefixed name, the
/// length-prefixed type, one byte for the kind of value, and the length-prefixed value.
pub(crate) fn digest<'a>(attributes: impl IntoIterator<Item = &'a Attribute>) -> [u8; 16] {
    let mut md5 = Md5::new();
    for attribute in attributes {
        update_with_length(&mut md5, attribute.name.as_bytes());
        update_with_length(&mut md5, attribute.data_type.as_bytes());
        md5.update([match attribute.value {
            AttributeValue::Text(_) => 1,
            AttributeValue::Binary(_) => 2,
        }]);
        update_with_length(&mut md5, attribute.value.bytes());
    }
    md5.finalize().into()
}

/// The digest of one attribute with a text, such as the trace header.
pub(crate) fn text_digest(name: &str, value: &str) -> [u8; 16] {
    let value = AttributeValue::Text(value.into());
    digest([&Attribute { name: name.into(), data_type: "String".into(), value }])
}

fn update_with_length(md5: &mut Md5, bytes: &[u8]) {
    // Every part of a message is far below 4 GiB, see `limits`.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    md5.update(length.to_be_bytes());
    md5.update(bytes);
}

/// The `MessageAttributeNames` of a receive.
pub(crate) struct Wanted<'a>(pub(crate) &'a [String]);

impl Wanted<'_> {
    /// Whether `All`, the name itself, or a prefix such as `trace.*` asks for this attribute.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.0.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == "All" || wanted == name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::SentAttribute;

    fn text(name: &str, data_type: &str, value: &str) -> AttributeMap<'static> {
        let sent = SentAttribute {
            data_type: data_type.to_owned().into(),
            string_value: Some(value.to_owned().into()),
            binary_value: None,
        };
        [(name.to_owned().into(), sent)].into_iter().collect()
    }

    fn hex_digest(attributes: &[Attribute]) -> String {
        hex::encode(digest(attributes))
    }

    // The expected digests were returned by the real service.
    #[test]
    fn the_digest_of_text_is_the_one_that_the_service_gives() {
        let one = |name, value| check(text(name, "String", value)).ok().unwrap();
        assert_eq!(hex_digest(&one("Hello", "There")), "a311262e065454b75da111d535b8dacd");
        assert_eq!(hex_digest(&one("Foo", "Bar")), "ae7155c6026991b6d54b11589678bf9c");
        let mut all = text("Help.Me", "String", "Me");
        all.extend(text("Hello", "String", "There"));
        all.extend(text("General", "String", "Kenobi"));
        assert_eq!(hex_digest(&check(all).ok().unwrap()), "4c360f3fdafd970e05fae2f149d997f5");
    }

    #[test]
    fn the_digest_of_bytes_is_the_one_that_the_service_gives() {
        let value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01";
        let sent = SentAttribute {
            data_type: "Binary".into(),
            string_value: None,
            binary_value: Some(STANDARD.encode(value).into()),
        };
        let attributes = check([(Cow::from("attr1"), sent)].into_iter().collect()).ok().unwrap();
        assert_eq!(hex_digest(&attributes), "8cbe4db156db8a94db8b801b7addb984");
    }

    #[test]
    fn bad_attributes_are_refused() {
        let long_name = "n".repeat(257);
        for (name, data_type, value) in [
            ("", "String", "v"),
            (".a", "String", "v"),
            ("a.", "String", "v"),
            ("a..b", "String", "v"),
            ("a b", "String", "v"),
            ("AWS.x", "String", "v"),
            ("amazon.x", "String", "v"),
            (long_name.as_str(), "String", "v"),
            ("a", "", "v"),
            ("a", "Text", "v"),
            ("a", "Number", "one"),
            ("a", "Number", "inf"),
            ("a", "String", ""),
            ("a", "Binary", "v"),
        ] {
            let refused = check(text(name, data_type, value)).err().map(|e| e.kind);
            assert_eq!(refused, Some(ErrorKind::InvalidParameterValue), "{name} {data_type} {value}");
        }
        let refused = check(text("a", "String", "\u{1}")).err().map(|e| e.kind);
        assert_eq!(refused, Some(ErrorKind::InvalidMessageContents));
        let many = (0..11).flat_map(|i| text(&format!("a{i}"), "String", "v")).collect();
        assert_eq!(check(many).err().map(|e| e.kind), Some(ErrorKind::InvalidParameterValue));
    }

    #[test]
    fn custom_labels_and_numbers_pass() {
        for (data_type, value) in [("String.uuid", "x"), ("Number", "-1.5e3"), ("Number.int", "7")] {
            assert!(check(text("a", data_type, value)).is_ok(), "{data_type} {value}");
        }
    }

    #[test]
    fn names_are_wanted_by_name_by_prefix_or_all() {
        let includes = |wanted: &[&str], name| {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            Wanted(&wanted).includes(name)
        };
        assert!(includes(&["All"], "x") && includes(&[".*"], "x") && includes(&["x"], "x"));
        assert!(includes(&["Hel.*"], "Hello") && includes(&["y", "Hello"], "Hello"));
        assert!(!includes(&[], "x") && !includes(&["Hel.*"], "help") && !includes(&["xy"], "x"));
    }
}
