//! The layers a configuration comes from: a TOML file, the environment, `--set`. Later wins.
//!
//! Each layer is judged by the table of keys before the layers are merged, so that a problem names its own place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use config::{Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::errors::{Origin, Problem};
use super::keys::{self, DefaultValue, Key, Kind};
use super::secret::hide_password;

/// What the names of our environment variables begin with.
pub const ENV_PREFIX: &str = "ETL_";

const DATABASE_URL: &str = "sink.database_url";

/// Values of known keys and of the right type, and where each was set.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    values: BTreeMap<&'static str, (ValueKind, Origin)>,
}

impl std::fmt::Debug for Layer {
    // Values may be secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let value =
            |(path, (kind, _)): (&&str, &(ValueKind, Origin))| ((*path).to_owned(), kind.clone().into());
        Ok(self.values.iter().map(value).collect())
    }
}

/// The lowest layer: the table's defaults.
#[derive(Debug, Clone)]
pub(crate) struct Defaults;

impl Source for Defaults {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let value = |key: &Key| {
            let value: ValueKind = match key.default {
                DefaultValue::Text(text) => text.into(),
                DefaultValue::Integer(number) => number.into(),
                DefaultValue::Bool(value) => value.into(),
                DefaultValue::Unset(_) => return None,
            };
            Some((key.path.to_owned(), value.into()))
        };
        Ok(keys::KEYS.iter().filter_map(value).collect())
    }
}

impl Layer {
    pub(crate) fn origins(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.values.iter().map(|(path, (_, origin))| (*path, origin))
    }

    fn take(&mut self, path: &str, raw: Raw<'_>, origin: Origin) -> Result<(), Problem> {
        let Some(key) = keys::find(path) else {
            return Err(unknown(path, origin));
        };
        match judge(key, raw) {
            Ok(kind) => {
                self.values.insert(key.path, (kind, origin));
                Ok(())
            }
            Err(text) => Err(Problem::new(key.path, text, Some(origin))),
        }
    }
}

/// A value as a layer has it.
enum Raw<'a> {
    /// From the environment or the command line: its key says what it is meant to be.
    Untyped(&'a str),
    Text(&'a str),
    Integer(i64),
    Bool(bool),
    /// Something that no key accepts, in words.
    Other(&'static str),
}

/// The value in its key's type, or what is wrong with it.
fn judge(key: &Key, raw: Raw<'_>) -> Result<ValueKind, String> {
    let found = describe(key.kind, &raw);
    let value = match (key.kind, raw) {
        (Kind::Integer { min, max, .. }, Raw::Integer(number)) if (min..=max).contains(&number) => {
            Some(number.into())
        }
        (Kind::Integer { min, max, .. }, Raw::Untyped(text)) => {
            text.parse::<i64>().ok().filter(|number| (min..=max).contains(number)).map(ValueKind::from)
        }
        (Kind::Bool, Raw::Bool(value)) => Some(value.into()),
        (Kind::Bool, Raw::Untyped(text)) => text.parse::<bool>().ok().map(ValueKind::from),
        (Kind::Choice(words), Raw::Text(text) | Raw::Untyped(text)) => {
            words.contains(&text).then(|| text.into())
        }
        (Kind::HttpUrl, Raw::Text(text) | Raw::Untyped(text)) => is_http_url(text).then(|| text.into()),
        (Kind::Socket, Raw::Text(text) | Raw::Untyped(text)) => {
            text.parse::<SocketAddr>().is_ok().then(|| text.into())
        }
        (Kind::Text | Kind::Path | Kind::Secret, Raw::Text(text) | Raw::Untyped(text)) => {
            (!text.trim().is_empty()).then(|| text.into())
        }
        _ => None,
    };
    value.ok_or_else(|| format!("expected {}, found {found}", key.kind))
}

fn describe(kind: Kind, raw: &Raw<'_>) -> String {
    match raw {
        Raw::Untyped(text) | Raw::Text(text) if text.trim().is_empty() => "an empty text".to_owned(),
        Raw::Integer(_) if kind.is_secret() => "a number".to_owned(),
        Raw::Untyped(_) | Raw::Text(_) | Raw::Bool(_) if kind.is_secret() => "something else".to_owned(),
        Raw::Untyped(text) | Raw::Text(text) => format!("\"{}\"", hide_password(text).escape_debug()),
        Raw::Integer(number) => number.to_string(),
        Raw::Bool(value) => value.to_string(),
        Raw::Other(words) => (*words).to_owned(),
    }
}

fn is_http_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace))
}

fn unknown(path: &str, origin: Origin) -> Problem {
    if keys::is_section(path) {
        return Problem::new(path, format!("expected a table, [{path}], found a value"), Some(origin));
    }
    let known = keys::nearest(path).path;
    let text = match &origin {
        Origin::Env(_) => {
            format!("unknown key; the nearest known one is {known} ({})", keys::env_name(known))
        }
        Origin::File { .. } | Origin::Flag => format!("unknown key; the nearest known one is {known}"),
    };
    Problem::new(path, text, Some(origin))
}

/// Reads the text of a TOML file.
///
/// # Errors
/// It is no TOML; what the rest of it means is anybody's guess then.
pub(crate) fn from_toml(file: &str, text: &str, problems: &mut Vec<Problem>) -> Result<Layer, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = TomlReader { file, text, layer: Layer::default(), problems };
    if errors.is_empty() {
        reader.table("", table.get_ref());
        return Ok(reader.layer);
    }
    // Only the message: the library's own rendering quotes the line, and the line may hold a secret.
    let problem = |error: &toml::de::Error| {
        let origin = error.span().map(|span| reader.origin(span.start));
        Problem::new(file, format!("not valid TOML: {}", error.message()), origin)
    };
    Err(errors.iter().map(problem).collect())
}

struct TomlReader<'a> {
    file: &'a str,
    text: &'a str,
    layer: Layer,
    problems: &'a mut Vec<Problem>,
}

impl TomlReader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        Origin::File { file: self.file.to_owned(), line }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let origin = self.origin(name.span().start);
            match value.get_ref() {
                DeValue::Table(inner)
                    if keys::find(&path).is_none() && (keys::is_section(&path) || !inner.is_empty()) =>
                {
                    self.table(&path, inner);
                }
                value => {
                    let taken = self.layer.take(&path, raw_of(value), origin);
                    self.problems.extend(taken.err());
                }
            }
        }
    }
}

fn raw_of<'a>(value: &'a DeValue<'_>) -> Raw<'a> {
    match value {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Other("a number that is far too large"),
        },
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Array(_) => Raw::Other("an array"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

/// Reads `DATABASE_URL` and our own variables out of an environment. An empty variable counts as not set: that is
/// what `docker compose` makes of one that is passed on but not there.
pub(crate) fn from_env(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> EnvLayers {
    let mut layers = EnvLayers { general: Layer::default(), own: Layer::default() };
    for (name, value) in variables {
        // A name that is not UTF-8 is none of ours.
        let Some(name) = name.to_str() else { continue };
        let (path, layer) = match name.strip_prefix(ENV_PREFIX) {
            Some(rest) => (rest.replace("__", ".").to_lowercase(), &mut layers.own),
            None if name == "DATABASE_URL" => (DATABASE_URL.to_owned(), &mut layers.general),
            None => continue,
        };
        let origin = Origin::Env(name.to_owned());
        let raw = match value.to_str() {
            Some("") if keys::find(&path).is_some() => continue,
            Some(text) => Raw::Untyped(text),
            None => Raw::Other("bytes that are not UTF-8"),
        };
        problems.extend(layer.take(&path, raw, origin).err());
    }
    layers
}

/// What the environment says.
pub(crate) struct EnvLayers {
    /// `DATABASE_URL`, which others set for their own purposes too: our own variables win over it.
    pub(crate) general: Layer,
    /// The variables with our prefix.
    pub(crate) own: Layer,
}

/// Reads `KEY=VALUE` arguments.
pub(crate) fn from_flags(flags: &[String], problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::default();
    for flag in flags {
        let Some((path, value)) = flag.split_once('=') else {
            let text = "expected KEY=VALUE, for example --set pipeline.writers=4";
            problems.push(Problem::new("--set", text, None));
            continue;
        };
        if keys::find(path).is_some_and(|key| key.kind.is_secret()) {
            let name = keys::env_name(path);
            let text = format!(
                "a secret on the command line can be read by everybody on the machine; set {path}_file or {name}"
            );
            problems.push(Problem::new(path, text, Some(Origin::Flag)));
            continue;
        }
        problems.extend(layer.take(path, Raw::Untyped(value), Origin::Flag).err());
    }
    layer
}
