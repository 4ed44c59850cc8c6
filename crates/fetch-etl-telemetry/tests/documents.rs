//! What is written about the metrics is what there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fetch_etl_core::QueueDepth;
use fetch_etl_telemetry::METRICS;

use crate::support::Rig;

const DOCUMENT: &str = include_str!("../../../docs/METRICS.md");

fn part(name: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("<!-- {name} -->\n")).unwrap();
    rest.split_once(&format!("<!-- /{name} -->")).unwrap().0
}

#[test]
fn every_metric_is_documented_as_it_is_and_no_other() {
    let mut table = String::from("| metric | type | labels | unit | meaning |\n|---|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let unit = metric.unit.map_or("", |unit| unit.as_str());
        let (name, kind, labels) = (metric.name(), metric.kind.as_str(), labels.join(", "));
        writeln!(table, "| `{name}` | {kind} | {labels} | {unit} | {} |", metric.meaning).unwrap();
    }
    assert_eq!(part("metrics"), table, "the table of docs/METRICS.md must be:\n{table}");
}

#[test]
fn every_word_that_a_label_can_have_is_documented() {
    let rig = Rig::new();
    rig.telemetry.queue_depth(Some(QueueDepth::default()));
    let mut words = BTreeMap::<_, Vec<_>>::new();
    for point in rig.telemetry.families().iter().flat_map(|family| &family.points) {
        for (label, value) in &point.labels {
            let (values, value) = (words.entry(*label).or_default(), format!("`{value}`"));
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    // What differs from one program or policy to another is described instead.
    words.insert("version", vec!["of the program; of the policy, which grows with every change".to_owned()]);
    words.insert(
        "commit",
        vec!["the commit it was built from (`BUILD_COMMIT` at build time), or `unknown`".to_owned()],
    );
    words.insert("key_id", vec!["a key's number; 0 is plain SHA-512".to_owned()]);
    words.insert(
        "canonical_version",
        vec!["the version of the form that values are brought into before masking".to_owned()],
    );
    let row = |(label, values): (&str, Vec<String>)| format!("| `{label}` | {} |\n", values.join(", "));
    let rows: String = words.into_iter().map(row).collect();
    let table = format!("| label | values |\n|---|---|\n{rows}");
    assert_eq!(part("labels"), table, "the labels of docs/METRICS.md must be:\n{table}");
}

#[test]
fn names_in_the_text_are_names_of_metrics() {
    for document in [DOCUMENT, include_str!("../../../docs/LOGGING.md")] {
        for name in document.split(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
            let is_name = name.starts_with("etl_") && name.len() > "etl_".len();
            assert!(!is_name || METRICS.iter().any(|metric| metric.name() == name), "{name}");
        }
    }
}
