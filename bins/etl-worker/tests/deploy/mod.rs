//! What stands in `deploy/` fits the program: the manifests name keys that exist, commands that parse, and what a cluster expects.
//!
//! Nothing here needs a cluster, Docker or Helm; `cargo xtask ci` renders the chart where Helm is installed.

mod helm;
mod kubernetes;
mod places;
mod rendered;
mod schema;

use std::fs;
use std::path::{Path, PathBuf};

use etl_worker::settings::keys;
use serde_json::Value;

/// A file of the repository.
fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All documents of a YAML file.
fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The only document of a YAML file.
fn one(path: &str) -> Value {
    let [document] =
        <[Value; 1]>::try_from(yaml(path)).unwrap_or_else(|all| panic!("{path}: {} documents", all.len()));
    document
}

/// Every name in a text that begins with `ETL_`, as it would be an environment variable of the worker.
fn variables(text: &str) -> Vec<&str> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.strip_prefix("ETL_").is_some_and(|rest| !rest.is_empty())).collect()
}

/// Whether an environment variable sets a key.
fn is_key(variable: &str) -> bool {
    keys::KEYS.iter().any(|key| keys::env_name(key.path) == variable)
}

/// All files under a directory.
fn files_under(directory: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(file(directory)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_variable_that_is_set_anywhere_is_a_key() {
    let mut files = files_under("deploy");
    files.extend(["docker-compose.yml", "Dockerfile"].map(str::to_owned));
    let mut seen = 0;
    for path in files {
        for variable in variables(&text(&path)) {
            assert!(is_key(variable), "{path}: {variable} is no key of the worker");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn a_variable_is_told_from_other_words() {
    assert_eq!(variables("A_ETL_X ETL_ `ETL_SINK__MIGRATE=1` $ETL_A"), ["ETL_SINK__MIGRATE", "ETL_A"]);
    assert!(is_key("ETL_SINK__MIGRATE") && !is_key("ETL_SINK__MIGRAT"));
}

#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let rules = one("deploy/prometheus/etl.rules.yml");
    let groups = rules["groups"].as_array().unwrap().iter();
    let alerts: Vec<_> = groups
        .flat_map(|group| group["rules"].as_array().unwrap())
        .filter_map(|rule| rule["alert"].as_str())
        .map(str::to_owned)
        .collect();
    let page = text("docs/OPERATIONS.md");
    let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(sections, alerts, "the sections of docs/OPERATIONS.md, in the order of the rules");
}
