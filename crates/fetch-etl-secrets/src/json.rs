//! One text out of a JSON object, without a copy of the others.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use zeroize::Zeroizing;

/// The text at a key, or what is wrong, in words that quote nothing.
pub(crate) fn text_at(key: &str, json: &str) -> Result<Zeroizing<String>, &'static str> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let found = AtKey(key).deserialize(&mut parser).and_then(|found| parser.end().map(|()| found));
    match found {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err("the secret is a JSON object without this key"),
        Err(error) if error.classify() == Category::Data && json.trim_start().starts_with('{') => {
            Err("the key's value is no text, or the key is there twice")
        }
        Err(_) => Err("the secret is no JSON object"),
    }
}

struct AtKey<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for AtKey<'_> {
    type Value = Option<Zeroizing<String>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AtKey<'_> {
    type Value = Option<Zeroizing<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(Zeroizing::new(map.next_value()?)).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(json: &str) -> Result<String, &'static str> {
        text_at("key", json).map(|text| text.to_string())
    }

    #[test]
    fn the_text_at_the_key_is_found_among_others() {
        let json = r#" {"a": {"key": "no"}, "k\u0065y": "hunter\"2\u00e4", "z": [1, null]} "#;
        assert_eq!(at(json).as_deref(), Ok("hunter\"2ä"));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_quote() {
        for (json, said) in [
            ("hunter2", "the secret is no JSON object"),
            ("\"hunter2\"", "the secret is no JSON object"),
            ("[\"hunter2\"]", "the secret is no JSON object"),
            ("{\"key\": \"hunter2\"", "the secret is no JSON object"),
            ("{\"key\": \"hunter2\"} x", "the secret is no JSON object"),
            ("{\"other\": \"hunter2\"}", "the secret is a JSON object without this key"),
            ("{\"key\": 2}", "the key's value is no text, or the key is there twice"),
            ("{\"key\": null}", "the key's value is no text, or the key is there twice"),
            ("{\"key\": {\"key\": \"hunter2\"}}", "the key's value is no text, or the key is there twice"),
            ("{\"key\": \"a\", \"key\": \"b\"}", "the key's value is no text, or the key is there twice"),
        ] {
            assert_eq!(at(json), Err(said), "{json}");
        }
    }
}
