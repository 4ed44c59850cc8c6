//! The configuration as `check` prints it: TOML, with where each value came from and secrets hidden.

use std::fmt::Write;

use config::ValueKind;
use fetch_etl_seal::Recipient;

use super::Loaded;
use super::keys::{DefaultValue, KEYS, Key};
use super::secret::{HIDDEN, hide_password};

/// Every key with its value, and where the value was set.
pub fn show(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let (table, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if table != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{table}]");
            section = table;
        }
        let _ = writeln!(text, "{}", line(loaded, key, name));
    }
    text
}

fn line(loaded: &Loaded, key: &Key, name: &str) -> String {
    let origin = loaded.origin(key.path).map_or_else(|| "default".to_owned(), ToString::to_string);
    match (loaded.config.get::<config::Value>(key.path), key.default) {
        (Ok(value), _) => format!("{:<48} # {origin}", format!("{name} = {}", shown(key, &value.kind))),
        (Err(_), DefaultValue::Unset(words)) => format!("{:<48} # not set: {words}", format!("# {name} =")),
        (Err(_), _) => format!("# {name} ="),
    }
}

fn shown(key: &Key, value: &ValueKind) -> String {
    match value {
        ValueKind::String(text) if key.path == "sink.database_url" => quoted(&hide_password(text)),
        // Whoever mixes the two up sets the private key.
        ValueKind::String(text)
            if key.path == "quarantine.recipient" && Recipient::from_text(text).is_err() =>
        {
            quoted(HIDDEN)
        }
        ValueKind::String(_) if key.kind.is_secret() => quoted(HIDDEN),
        ValueKind::String(text) => quoted(&hide_password(text)),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
