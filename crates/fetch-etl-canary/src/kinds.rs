//! The kinds of messages: each a name, what must become of it, and how it is written.

use crate::maker::{Maker, Spelling};
use crate::{Canary, Expected, Field, Right};

/// One message in this many has an attribute.
const ATTRIBUTE_EACH: u32 = 5;

/// The end of the locale of a login that a database is to refuse.
pub(crate) const REFUSED_MARK: &str = "-refuse";

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) expected: Expected,
    write: fn(&mut Draft<'_>) -> String,
}

const fn row(name: &'static str, write: fn(&mut Draft<'_>) -> String) -> Kind {
    Kind { name, expected: Expected::Row, write }
}

const fn reject(reason: &'static str, name: &'static str, write: fn(&mut Draft<'_>) -> String) -> Kind {
    Kind { name, expected: Expected::Reject(reason), write }
}

/// Two good ones for each bad one.
pub(crate) const MIXED: [&[Kind]; 3] = [GOOD, UNUSUAL, BAD];

/// What becomes a row without any ado.
pub(crate) const GOOD: &[Kind] = &[row("plain", |draft| draft.login().body())];

/// What a worker does not survive.
pub(crate) const FATAL: &[Kind] = &[Kind {
    name: "plain, for a worker that panics",
    expected: Expected::Nothing,
    write: |draft| draft.login().body(),
}];

/// What a database is told to refuse.
pub(crate) const REFUSED: &[Kind] = &[reject("refused_by_sink", "refused by the database", |draft| {
    let mut login = draft.login();
    let locale = draft.maker.text() + REFUSED_MARK;
    login.set("locale", draft.record(Field::Locale, locale));
    login.body()
})];

/// What becomes a row all the same.
const UNUSUAL: &[Kind] = &[
    row("IPv6, compressed", |draft| draft.login_from(Spelling::Compressed)),
    row("IPv6, expanded", |draft| draft.login_from(Spelling::Expanded)),
    row("IPv6, upper case", |draft| draft.login_from(Spelling::UpperCase)),
    row("IPv6, plain", |draft| draft.login_from(Spelling::Plain)),
    row("IPv6 with IPv4 inside", |draft| draft.login_from(Spelling::Mapped)),
    row("an ip that is no address", |draft| draft.login_with("ip", |draft| draft.text(Field::Ip))),
    row("no locale", |draft| draft.login_with("locale", |_| "null".to_owned())),
    row("no addresses", |draft| {
        let mut login = draft.login_without(&["ip", "device_id"]);
        login.set("ip", "null");
        login.set("device_id", "null");
        login.body()
    }),
    row("every character escaped", |draft| {
        let mut login = draft.login();
        for (_, value) in &mut login.0 {
            *value = format!("\"{}\"", escaped(&value.trim_matches('"').replace("\\\"", "\"")));
        }
        login.body()
    }),
    row("an unknown field", |draft| {
        let mut login = draft.login();
        let name = draft.name(Field::UnknownName);
        login.add(&name, draft.text(Field::UnknownValue));
        login.body()
    }),
    row("unknown fields, nested", |draft| {
        let mut login = draft.login();
        let name = draft.name(Field::UnknownName);
        let (text, number) = (draft.text(Field::UnknownValue), draft.number(Field::UnknownValue));
        login.add("extra", format!("{{\"{name}\":[{text},{number},{{\"deeper\":{text}}}]}}"));
        login.body()
    }),
];

const BAD: &[Kind] = &[
    reject("wrong_type", "a number as user_id", |draft| draft.number_as(Field::UserId)),
    reject("wrong_type", "a number as app_version", |draft| draft.number_as(Field::AppVersion)),
    reject("wrong_type", "a number as device_type", |draft| draft.number_as(Field::DeviceType)),
    reject("wrong_type", "a number as ip", |draft| draft.number_as(Field::Ip)),
    reject("wrong_type", "a number as locale", |draft| draft.number_as(Field::Locale)),
    reject("wrong_type", "a number as device_id", |draft| draft.number_as(Field::DeviceId)),
    reject("wrong_type", "an array as ip", |draft| {
        draft.login_with("ip", |draft| format!("[{}]", draft.text(Field::Ip)))
    }),
    reject("wrong_type", "an object as device_id", |draft| {
        draft.login_with("device_id", |draft| {
            let (name, text) = (draft.name(Field::DeviceId), draft.text(Field::DeviceId));
            format!("{{\"{name}\":{{\"inner\":{text}}}}}")
        })
    }),
    reject("too_long", "a long user_id", |draft| draft.padded(Field::UserId, 129)),
    reject("too_long", "a long device_type", |draft| draft.padded(Field::DeviceType, 33)),
    reject("too_long", "a long locale", |draft| draft.padded(Field::Locale, 1_000)),
    reject("too_long", "a long app_version", |draft| {
        draft.login_with("app_version", |draft| {
            let version = draft.maker.version();
            let version = draft.record(Field::AppVersion, version);
            format!("\"{}{}\"", version.trim_matches('"'), ".0".repeat(40))
        })
    }),
    reject("duplicate_field", "an ip twice", |draft| {
        let mut login = draft.login();
        login.add("ip", draft.address(Spelling::V4));
        login.body()
    }),
    reject("duplicate_field", "a user_id twice", |draft| {
        let mut login = draft.login();
        login.add("user_id", draft.text(Field::UserId));
        login.body()
    }),
    reject("missing_field", "a field of another name", |draft| {
        let mut login = draft.login_without(&["ip"]);
        let (name, text) = (draft.name(Field::UnknownName), draft.text(Field::UnknownValue));
        login.add(&name, text);
        login.body()
    }),
    reject("null_field", "no user_id", |draft| draft.login_with("user_id", |_| "null".to_owned())),
    reject("empty_field", "an empty user_id", |draft| draft.login_with("user_id", |_| "\"\"".to_owned())),
    reject("nul_character", "a NUL in user_id", |draft| draft.joined(Field::UserId, "\\u0000")),
    reject("nul_character", "a NUL in locale", |draft| draft.joined(Field::Locale, "\\u0000")),
    reject("invalid_version", "a text as app_version", |draft| {
        draft.login_with("app_version", |draft| draft.text(Field::AppVersion))
    }),
    reject("invalid_json", "cut in a value", |draft| {
        let mut body = draft.login().body();
        body.truncate(body.len() - 2);
        body
    }),
    reject("invalid_json", "cut behind a name", |draft| {
        let login = draft.login_without(&["device_id"]);
        login.body().trim_end_matches('}').to_owned() + ",\"device_id\":"
    }),
    reject("invalid_json", "something behind the end", |draft| {
        let body = draft.login().body();
        format!("{body} {}", draft.text(Field::Body))
    }),
    reject("invalid_json", "a value without quotes", |draft| {
        draft.login_with("ip", |draft| draft.name(Field::Ip))
    }),
    reject("invalid_json", "a value in single quotes", |draft| {
        draft.login_with("device_id", |draft| format!("'{}'", draft.name(Field::DeviceId)))
    }),
    reject("invalid_json", "a wrong escape", |draft| draft.joined(Field::UserId, "\\x")),
    reject("invalid_json", "half of a surrogate pair", |draft| draft.joined(Field::DeviceId, "\\ud800")),
    reject("invalid_json", "a line break in a value", |draft| draft.joined(Field::Ip, "\n")),
    reject("invalid_json", "no JSON at all", |draft| {
        let texts: Vec<_> = (0..3).map(|_| draft.name(Field::Body)).collect();
        texts.join("; ")
    }),
    reject("not_an_object", "an array", |draft| {
        let (login, text) = (draft.login().body(), draft.text(Field::Body));
        format!("[{text},{login}]")
    }),
    reject("not_an_object", "a text", |draft| draft.text(Field::Body)),
];

/// A message that is being written, with the canaries in it so far.
pub(crate) struct Draft<'m> {
    maker: &'m mut Maker,
    message: u32,
    kind: &'m Kind,
    canaries: Vec<Canary>,
}

/// A message that is written.
pub(crate) struct Finished<'m> {
    pub(crate) kind: &'m Kind,
    pub(crate) body: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) canaries: Vec<Canary>,
}

impl<'m> Draft<'m> {
    pub(crate) fn new(maker: &'m mut Maker, message: u32, kind: &'m Kind) -> Self {
        Self { maker, message, kind, canaries: Vec::new() }
    }

    pub(crate) fn finish(mut self) -> Finished<'m> {
        let body = (self.kind.write)(&mut self);
        let mut attributes = Vec::new();
        if self.message.is_multiple_of(ATTRIBUTE_EACH) {
            let value = self.name(Field::Attribute);
            attributes.push(("trace".to_owned(), value));
        }
        // A value that was replaced by a worse one never left.
        let Self { kind, mut canaries, .. } = self;
        canaries.retain(|canary| canary.field == Field::Attribute || is_in(&body, &canary.value));
        Finished { kind, body, attributes, canaries }
    }

    /// Takes a value down as a canary, and returns it as JSON.
    fn record(&mut self, field: Field, value: String) -> String {
        let literal = quoted(&value);
        self.canaries.push(Canary {
            number: 0,
            message: self.message,
            field,
            right: if self.kind.expected == Expected::Row && field.is_stored() {
                Right::Rows
            } else {
                Right::Nowhere
            },
            value,
        });
        literal
    }

    /// A text in quotes.
    fn text(&mut self, field: Field) -> String {
        let value = self.maker.text();
        self.record(field, value)
    }

    /// A text without quotes, and without anything that would need to be escaped in them.
    fn name(&mut self, field: Field) -> String {
        let value = self.maker.text().replace(['"', 'é', '?', '>'], "");
        self.record(field, value.clone());
        value
    }

    fn number(&mut self, field: Field) -> String {
        let value = self.maker.number();
        self.record(field, value.clone());
        value
    }

    fn address(&mut self, spelling: Spelling) -> String {
        let value = self.maker.address(spelling);
        self.record(Field::Ip, value)
    }

    fn login(&mut self) -> Fields {
        self.login_without(&[])
    }

    /// A login without some of its fields.
    fn login_without(&mut self, without: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for field in
            [Field::UserId, Field::AppVersion, Field::DeviceType, Field::Ip, Field::Locale, Field::DeviceId]
        {
            if without.contains(&field.as_str()) {
                continue;
            }
            let literal = match field {
                Field::AppVersion => {
                    let version = self.maker.version();
                    self.record(field, version)
                }
                Field::Ip => self.address(Spelling::V4),
                Field::DeviceId => {
                    let device = self.maker.device();
                    self.record(field, device)
                }
                _ => self.text(field),
            };
            fields.add(field.as_str(), literal);
        }
        fields
    }

    /// A login in which one field is something else.
    fn login_with(&mut self, field: &str, value: impl FnOnce(&mut Self) -> String) -> String {
        let mut login = self.login();
        let value = value(self);
        login.set(field, value);
        login.body()
    }

    fn login_from(&mut self, spelling: Spelling) -> String {
        self.login_with("ip", |draft| draft.address(spelling))
    }

    fn number_as(&mut self, field: Field) -> String {
        self.login_with(field.as_str(), |draft| draft.number(field))
    }

    /// A login with a canary that is followed by as many characters as make it `length` long.
    fn padded(&mut self, field: Field, length: usize) -> String {
        self.login_with(field.as_str(), |draft| {
            let value = draft.name(field);
            format!("\"{value:x<length$}\"")
        })
    }

    /// A login with two canaries in one field, and something between them.
    fn joined(&mut self, field: Field, between: &str) -> String {
        self.login_with(field.as_str(), |draft| {
            let (first, second) = (draft.name(field), draft.name(field));
            format!("\"{first}{between}{second}\"")
        })
    }
}

/// Whether a body says this value, in one of the two ways in which messages are written here.
fn is_in(body: &str, value: &str) -> bool {
    body.contains(quoted(value).trim_matches('"')) || body.contains(&escaped(value))
}

/// Each character as JSON may write any.
fn escaped(value: &str) -> String {
    value.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect()
}

/// The fields of an object, as JSON, in order.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn add(&mut self, name: &str, literal: impl Into<String>) {
        self.0.push((name.to_owned(), literal.into()));
    }

    fn set(&mut self, name: &str, literal: impl Into<String>) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = literal.into(),
            None => self.add(name, literal),
        }
    }

    fn body(&self) -> String {
        let fields: Vec<_> = self.0.iter().map(|(name, literal)| format!("\"{name}\":{literal}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}

/// A value as a JSON string; of what needs escaping, canaries have quotes only.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('"', "\\\""))
}
