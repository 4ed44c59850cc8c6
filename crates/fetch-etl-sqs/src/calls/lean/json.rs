//! Reading JSON as the SDK does: a name that comes twice counts the last time, unknown ones are passed over, `null` is as if missing.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use fetch_etl_core::Pii;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Takes a text, or `null` as none, off a map.
pub(super) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(map.next_value::<Option<Text<'de>>>()?.map(|Text(text)| text))
}

/// A text, borrowed where it holds no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(text.into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// What takes its parts from the fields of a JSON object.
pub(super) trait Fields<'de> {
    /// Takes the value of one field off the map.
    fn field<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Reads an object into a [`Fields`], or `null` as `None`.
pub(super) struct ReadInto<T>(pub(super) T);

impl<'de, T: Fields<'de>> DeserializeSeed<'de> for ReadInto<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Fields<'de>> Visitor<'de> for ReadInto<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        fields(self.0, deserializer).map(Some)
    }
}

/// Reads the objects of an array, each into a new [`Fields`], or `null` as `None`. An element that is `null` is an error.
pub(super) struct ReadEach<F>(pub(super) F);

impl<'de, T: Fields<'de>, F: Fn() -> T> DeserializeSeed<'de> for ReadEach<F> {
    type Value = Option<Vec<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, T: Fields<'de>, F: Fn() -> T> Visitor<'de> for ReadEach<F> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or null")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        // As many as a call brings.
        let mut all = Vec::with_capacity(10);
        while let Some(one) = seq.next_element_seed(ReadInto(self.0()))? {
            all.push(one.ok_or_else(|| A::Error::custom("null in an array"))?);
        }
        Ok(Some(all))
    }
}

/// Reads an object into what is there already.
fn fields<'de, T: Fields<'de>, D: Deserializer<'de>>(into: T, deserializer: D) -> Result<T, D::Error> {
    struct ObjectVisitor<'de, T>(T, PhantomData<&'de ()>);
    impl<'de, T: Fields<'de>> Visitor<'de> for ObjectVisitor<'de, T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
            while let Some(Text(name)) = map.next_key()? {
                self.0.field(&name, &mut map)?;
            }
            Ok(self.0)
        }
    }
    deserializer.deserialize_map(ObjectVisitor(into, PhantomData))
}

/// Reads a whole body; SQS sends none where an empty object would do.
pub(super) fn document<'de, T: Fields<'de>>(into: T, body: &'de [u8]) -> serde_json::Result<T> {
    if body.is_empty() {
        return Ok(into);
    }
    // Once for all of it, and what is passed over has to be text too.
    let body = std::str::from_utf8(body).map_err(Error::custom)?;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let read = fields(into, &mut deserializer)?;
    deserializer.end()?;
    Ok(read)
}

/// A text whose only copy is the one that is zeroized. `serde_json` would leave one that holds escapes in a buffer of its own.
pub(super) struct Sensitive(pub(super) Pii<Vec<u8>>);

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        let quoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        let text = quoted.and_then(unescape).ok_or_else(|| D::Error::custom("no text"))?;
        Ok(Self(text))
    }
}

/// Takes the escapes out of what stands between quotes; `None` for half a surrogate pair, which is no character.
fn unescape(text: &str) -> Option<Pii<Vec<u8>>> {
    // It only gets shorter, so this is never moved.
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&rest[..at]);
        let escape = *rest.get(at + 1)?;
        rest = &rest[at + 2..];
        let byte = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = character(&mut rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(byte);
    }
    out.extend_from_slice(rest);
    Some(Pii::new(out))
}

/// Reads the character of a `\u`, and of the second one that some need.
fn character(rest: &mut &[u8]) -> Option<char> {
    let first = unit(rest)?;
    let code = if (0xD800..0xDC00).contains(&first) {
        *rest = rest.strip_prefix(b"\\u")?;
        let second = unit(rest)?.checked_sub(0xDC00).filter(|second| *second < 0x400)?;
        0x1_0000 + ((first - 0xD800) << 10) + second
    } else {
        first
    };
    char::from_u32(code)
}

fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sensitive(json: &str) -> Option<String> {
        let Sensitive(text) = serde_json::from_str(json).ok()?;
        Some(String::from_utf8(text.expose().clone()).unwrap())
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for json in [
            "5",
            "null",
            "[\"a\"]",
            "{}",
            "\"a",
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\ud800\u0041""#,
            r#""\ud800x""#,
            r#""\x""#,
            r#""\u12""#,
            r#""\u12g4""#,
            r#""\""#,
            "\"\n\"",
        ] {
            assert_eq!(sensitive(json), None, "{json}");
        }
    }

    #[test]
    fn every_escape_is_known() {
        let json = r#""\"\\\/\b\f\n\r\t\u00e4\ud83d\uDE00ä😀\u0000""#;
        assert_eq!(sensitive(json).as_deref(), Some("\"\\/\u{8}\u{c}\n\r\tä😀ä😀\0"));
    }

    proptest! {
        /// As `serde_json` reads it, whatever is escaped.
        #[test]
        fn any_text_is_read(text in any::<String>(), escaped in any::<bool>()) {
            let json = if escaped {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
                format!("\"{units}\"")
            } else {
                serde_json::to_string(&text).unwrap()
            };
            prop_assert_eq!(sensitive(&json), Some(text));
        }

        #[test]
        fn what_serde_json_reads_and_nothing_else(inner in r#"(\\u[dD][89a-fA-F][0-9a-f]{2}|\\[u"\\/bfnrtx]|[a-f0-9"é]){0,8}"#) {
            let json = format!("\"{inner}\"");
            prop_assert_eq!(sensitive(&json), serde_json::from_str::<String>(&json).ok());
        }
    }
}
