//! docs/CONFIGURATION.md is the table of keys.

use std::fmt::Write as _;
use std::path::Path;

use etl_worker::settings::keys::{DefaultValue, KEYS, Key, Kind, env_name};

/// With it set, the page is written instead of compared.
const UPDATE: &str = "FETCH_ETL_UPDATE_DOCS";

const HEAD: &str = "\
<!-- Made of the table of keys: FETCH_ETL_UPDATE_DOCS=1 cargo test -p etl-worker configuration -->
# Configuration

Every key of `etl-worker`, in the order of [config/etl.example.toml](../config/etl.example.toml), which is a file to begin with. A key is set in the file
(TOML), in the environment, or on the command line (`--set source.wait_time_s=10`; not secrets): later wins. Unknown keys, wrong types and values out
of range are errors that name the key and its place; `etl-worker check` shows what is set, and by what. AWS credentials are not among the keys: they
come from where the AWS tools take them. `DATABASE_URL` stands in for `sink.database_url`, and `RUST_LOG` chooses what is logged.
";

/// As GitHub shows it in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Secret => "text; never shown".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        // What an error says that was expected.
        other => other.to_string(),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        DefaultValue::Text(text) => format!("`{text}`"),
        DefaultValue::Integer(number) => format!("`{number}`"),
        DefaultValue::Bool(is_on) => format!("`{is_on}`"),
        DefaultValue::Unset(words) => format!("not set: {words}"),
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        let table = key.path.split('.').next().unwrap();
        if table != section {
            let _ = write!(
                page,
                "\n## {table}\n\n| key, variable | value | default | meaning |\n|---|---|---|---|\n"
            );
            section = table;
        }
        let cells = [kind(key), default(key), key.meaning.to_owned()].map(|text| cell(&text));
        let _ = writeln!(page, "| `{}`<br>`{}` | {} |", key.path, env_name(key.path), cells.join(" | "));
    }
    page
}

#[test]
fn the_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == page(),
        "docs/CONFIGURATION.md is not what the keys are: {UPDATE}=1 cargo test -p etl-worker configuration"
    );
}
