use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

/// A whole document by one of the reader's functions.
fn whole<'a, T>(json: &'a str, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Option<T> {
    let mut reader = Reader { text: json, at: 0 };
    let value = read(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

fn sensitive(json: &str) -> Option<String> {
    let text = whole(json, Reader::sensitive)??;
    Some(String::from_utf8(text.expose().clone()).unwrap())
}

/// Any value, by all that reads one.
fn value(reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match reader.peek() {
        Some(b'{') => {
            let mut object = serde_json::Map::new();
            reader.object(|name, reader| {
                object.insert(name.to_owned(), value(reader)?);
                Ok(())
            })?;
            Value::Object(object)
        }
        Some(b'[') => {
            let mut array = Vec::new();
            reader.array(|reader| {
                array.push(value(reader)?);
                Ok(())
            })?;
            Value::Array(array)
        }
        Some(b'"') => reader.text()?.ok_or(Unreadable)?.into_owned().into(),
        Some(b't' | b'f') => reader.boolean()?.ok_or(Unreadable)?.into(),
        Some(b'n') => {
            assert_eq!(reader.text()?, None);
            Value::Null
        }
        _ => {
            let start = reader.at;
            reader.skip()?;
            serde_json::from_str(&reader.text[start..reader.at]).map_err(|_| Unreadable)?
        }
    })
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

    /// What is JSON, and what it says, and what of it can be passed over.
    #[test]
    fn a_document_is_what_serde_json_says(
        json in r#"([{}\[\],: \n]|\{"a":|"[a"\\n]"|"\\u[dD]8[0-9a]{2}"|null|true|false|-?[01]{1,2}(\.[05])?([eE][+-]?1)?|x){0,12}"#
    ) {
        prop_assert_eq!(whole(&json, value), serde_json::from_str(&json).ok(), "{}", json);
        let passed_over = serde_json::from_str::<IgnoredAny>(&json).is_ok();
        prop_assert_eq!(whole(&json, Reader::skip).is_some(), passed_over, "{}", json);
    }

    #[test]
    fn documents_are_read_and_passed_over(value_in in any_value()) {
        for json in [value_in.to_string(), serde_json::to_string_pretty(&value_in).unwrap()] {
            prop_assert_eq!(whole(&json, value), Some(value_in.clone()));
            prop_assert_eq!(whole(&json, Reader::skip), Some(()));
            // Cut anywhere, it is none.
            for (end, _) in json.char_indices().filter(|_| json.starts_with(['{', '[', '"'])) {
                prop_assert_eq!(whole(&json[..end], Reader::skip), None);
            }
        }
    }

    #[test]
    fn plain_bytes_end_where_they_do(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(0x1f), Just(b' '), Just(0x80)], 0..40)) {
        let expected = bytes.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
        prop_assert_eq!(plain(&bytes), expected);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\é\n]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"]{0,4}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

#[test]
fn nothing_is_too_deep_to_be_passed_over() {
    let deep = |open: &str, close: &str| open.repeat(100_000) + "1" + &close.repeat(100_000);
    for (json, is_json) in [
        (deep("[", "]"), true),
        (deep("{\"a\":", "}"), true),
        (deep("[{\"a\":", "}]"), true),
        (deep("[", "}"), false),
    ] {
        assert_eq!(whole(&json, Reader::skip).is_some(), is_json);
    }
}

#[test]
fn a_document_is_an_object_or_nothing() {
    let none = |body: &[u8]| document(body, |_, reader| reader.skip());
    for (body, is_one) in [
        ("", true),
        ("{}", true),
        (" {\"a\":1} ", true),
        ("null", false),
        ("[]", false),
        ("{}x", false),
        (" ", false),
    ] {
        assert_eq!(none(body.as_bytes()).is_ok(), is_one, "{body}");
    }
    assert!(none(b"{\"a\":\"\xff\"}").is_err());
}
