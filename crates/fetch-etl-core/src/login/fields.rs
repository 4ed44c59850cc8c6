//! Reading the fields of one JSON object: everything is parsed before anything is judged, so that a body that is no
//! JSON is called that, whatever its first half looks like.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::Pii;

/// The value of a known field: text, null, or something that no field may be.
#[derive(Debug, Default)]
pub(super) enum Value<'a> {
    #[default]
    Missing,
    Null,
    Borrowed(&'a Pii<str>),
    Unescaped(Pii<String>),
    NotText,
}

impl<'a> Value<'a> {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// The six fields of a login, in the order of the documentation.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) user_id: Value<'a>,
    pub(super) app_version: Value<'a>,
    pub(super) device_type: Value<'a>,
    pub(super) ip: Value<'a>,
    pub(super) locale: Value<'a>,
    pub(super) device_id: Value<'a>,
    pub(super) duplicate: Option<&'static str>,
    pub(super) unknown: u32,
}

impl<'a> Fields<'a> {
    fn slot(&mut self, name: Name) -> Option<(&'static str, &mut Value<'a>)> {
        Some(match name {
            Name::UserId => ("user_id", &mut self.user_id),
            Name::AppVersion => ("app_version", &mut self.app_version),
            Name::DeviceType => ("device_type", &mut self.device_type),
            Name::Ip => ("ip", &mut self.ip),
            Name::Locale => ("locale", &mut self.locale),
            Name::DeviceId => ("device_id", &mut self.device_id),
            Name::Unknown => return None,
        })
    }
}

/// A whole message: an object's fields, or something else.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Object(Fields<'a>),
    NotAnObject,
}

#[derive(Clone, Copy)]
enum Name {
    UserId,
    AppVersion,
    DeviceType,
    Ip,
    Locale,
    DeviceId,
    Unknown,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "user_id" => Name::UserId,
                    "app_version" => Name::AppVersion,
                    "device_type" => Name::DeviceType,
                    "ip" => Name::Ip,
                    "locale" => Name::Locale,
                    "device_id" => Name::DeviceId,
                    _ => Name::Unknown,
                })
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Visits any JSON value, checks all of it, keeps text and null.
struct AnyValue;

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Borrowed(Pii::wrap(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Unescaped(Pii::new(text.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::NotText)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::NotText)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Value<'de>, E> {
        Ok(Value::NotText)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::NotText)
    }
    // Nested values go through `deserialize_any` again rather than through `IgnoredAny`: that way the parser's depth limit
    // holds and their strings are checked too.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element_seed(Skip)?.is_some() {}
        Ok(Value::NotText)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_key::<Name>()?.is_some() {
            map.next_value_seed(Skip)?;
        }
        Ok(Value::NotText)
    }
}

/// Like [`AnyValue`], keeping nothing.
struct Skip;

impl<'de> DeserializeSeed<'de> for Skip {
    type Value = IgnoredAny;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<IgnoredAny, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = IgnoredAny;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_str<E>(self, _: &str) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_unit<E>(self) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_bool<E>(self, _: bool) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_i64<E>(self, _: i64) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_u64<E>(self, _: u64) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_f64<E>(self, _: f64) -> Result<IgnoredAny, E> {
        Ok(IgnoredAny)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<IgnoredAny, A::Error> {
        while seq.next_element_seed(Skip)?.is_some() {}
        Ok(IgnoredAny)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IgnoredAny, A::Error> {
        while map.next_key::<Name>()?.is_some() {
            map.next_value_seed(Skip)?;
        }
        Ok(IgnoredAny)
    }
}

impl<'de> Deserialize<'de> for Message<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Message<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key()? {
            let Some((field, slot)) = fields.slot(name) else {
                map.next_value_seed(Skip)?;
                fields.unknown = fields.unknown.saturating_add(1);
                continue;
            };
            let repeated = !slot.is_missing();
            *slot = map.next_value_seed(AnyValue)?;
            if repeated {
                fields.duplicate.get_or_insert(field);
            }
        }
        Ok(Message::Object(fields))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Message<'de>, A::Error> {
        Skip.visit_seq(seq).map(|_| Message::NotAnObject)
    }
    fn visit_str<E>(self, _: &str) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
    fn visit_unit<E>(self) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Message<'de>, E> {
        Ok(Message::NotAnObject)
    }
}
