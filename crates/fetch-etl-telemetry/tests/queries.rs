//! Every query of the dashboard and of the alert rules is PromQL, and asks for metrics, labels and words that there are.

use std::collections::BTreeSet;

use fetch_etl_core::{KeyId, QueueDepth};
use fetch_etl_telemetry::{Family, Kind, METRICS, Metric};
use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, VectorSelector};
use serde_json::Value;

use crate::support::Rig;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/etl-worker.json");
const RULES: &str = include_str!("../../../deploy/prometheus/etl.rules.yml");
const DATASOURCE: &str = include_str!("../../../deploy/compose/grafana/datasource.yml");
const SCRAPING: &str = include_str!("../../../deploy/prometheus/prometheus.yml");

/// What Prometheus adds to every series of a target; its operator adds the namespace.
const TARGET_LABELS: [&str; 3] = ["job", "instance", "namespace"];

/// What Prometheus says of a target itself.
const UP: &str = "up";

#[derive(serde::Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(serde::Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Alert {
    alert: String,
    expr: String,
    #[serde(rename = "for", default)]
    lasting: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    severity: String,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Annotations {
    summary: String,
    action: String,
    runbook: String,
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_saphyr::from_str(RULES).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// Every text under one of these names, wherever it is.
fn texts<'v>(value: &'v Value, names: &[&str], found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) => found.push(text),
                    _ => texts(value, names, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, names, found)),
        _ => {}
    }
}

fn dashboard_texts(names: &[&str]) -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    texts(&dashboard, names, &mut found);
    found.into_iter().map(str::to_owned).collect()
}

/// What Grafana puts in before it asks.
fn filled_in(query: &str) -> String {
    let query =
        query.replace("$__rate_interval", "5m").replace("$job", "etl-worker").replace("$instance", ".*");
    assert!(!query.contains('$'), "an unknown variable: {query}");
    query
}

/// All that is exported when everything is known.
fn families() -> Vec<Family> {
    let rig = Rig::new();
    rig.telemetry.queue_depth(Some(QueueDepth::default()));
    rig.telemetry.masks_with(KeyId::UNKEYED);
    rig.telemetry.families()
}

/// The metric that a selector asks for, and the labels that its series have.
fn metric_of(name: &str) -> Option<(&'static Metric, BTreeSet<&'static str>)> {
    METRICS.iter().find_map(|metric| {
        let full = metric.name();
        let rest = name.strip_prefix(&full)?;
        let mut labels: BTreeSet<_> = metric.labels.iter().chain(&TARGET_LABELS).copied().collect();
        match (metric.kind, rest) {
            (Kind::Histogram, "_bucket") => drop(labels.insert("le")),
            (Kind::Histogram, "_sum" | "_count") => {}
            (Kind::Counter | Kind::Gauge | Kind::Info, "") => {}
            _ => return None,
        }
        Some((*metric, labels))
    })
}

fn labels_of(selector: &VectorSelector) -> Result<BTreeSet<&'static str>, String> {
    let name = selector.name.as_deref().ok_or("a selector without a name")?;
    if name == UP {
        return Ok(TARGET_LABELS.into());
    }
    metric_of(name).map(|(_, labels)| labels).ok_or_else(|| format!("there is no metric {name}"))
}

fn check_selector(selector: &VectorSelector, families: &[Family]) -> Result<(), String> {
    let labels = labels_of(selector)?;
    let name = selector.name.as_deref().unwrap_or_default();
    for matcher in selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten()) {
        if !labels.contains(matcher.name.as_str()) {
            return Err(format!("{name} has no label {}", matcher.name));
        }
        if TARGET_LABELS.contains(&matcher.name.as_str()) || matcher.op != MatchOp::Equal {
            continue;
        }
        let family = families.iter().find(|family| family.metric.name() == name);
        let mut values = family.into_iter().flat_map(|family| &family.points).flat_map(|point| &point.labels);
        if !values.any(|(label, value)| *label == matcher.name && value.to_string() == matcher.value) {
            return Err(format!("{name} never has {}={:?}", matcher.name, matcher.value));
        }
    }
    Ok(())
}

/// Checks an expression, and returns the labels that its series may have.
fn check(expr: &Expr, families: &[Family]) -> Result<BTreeSet<&'static str>, String> {
    let grouped = |labels: BTreeSet<&'static str>, wanted: &[String]| match wanted
        .iter()
        .find(|label| !labels.contains(label.as_str()))
    {
        Some(missing) => Err(format!("nothing below has the label {missing}")),
        None => Ok(labels),
    };
    match expr {
        Expr::VectorSelector(selector) => {
            check_selector(selector, families)?;
            labels_of(selector)
        }
        Expr::MatrixSelector(selector) => {
            check_selector(&selector.vs, families)?;
            labels_of(&selector.vs)
        }
        Expr::Aggregate(aggregate) => {
            let labels = check(&aggregate.expr, families)?;
            let Some(modifier) = &aggregate.modifier else { return Ok(BTreeSet::new()) };
            let wanted = &modifier.labels().labels;
            let labels = grouped(labels, wanted)?;
            let is_kept = |label: &&str| wanted.iter().any(|wanted| wanted == label) == modifier.is_include();
            Ok(labels.into_iter().filter(is_kept).collect())
        }
        Expr::Binary(binary) => {
            let (left, right) = (check(&binary.lhs, families)?, check(&binary.rhs, families)?);
            if let Some(matching) = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()) {
                grouped(left.clone(), &matching.labels().labels)?;
                grouped(right.clone(), &matching.labels().labels)?;
            }
            Ok(left.union(&right).copied().collect())
        }
        Expr::Call(call) => {
            let args =
                call.args.args.iter().map(|arg| check(arg, families)).collect::<Result<Vec<_>, _>>()?;
            Ok(args.into_iter().flatten().collect())
        }
        Expr::Unary(unary) => check(&unary.expr, families),
        Expr::Paren(paren) => check(&paren.expr, families),
        Expr::Subquery(subquery) => check(&subquery.expr, families),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(BTreeSet::new()),
        Expr::Extension(_) => Err("an extension".to_owned()),
    }
}

fn labels_that_result(query: &str) -> Result<BTreeSet<&'static str>, String> {
    check(&parser::parse(query)?, &families())
}

/// The names behind `{{ $labels.` in a text.
fn labels_named(text: &str) -> Vec<&str> {
    let pieces = text.split("$labels.").skip(1);
    pieces.map(|piece| piece.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).next().unwrap()).collect()
}

#[test]
fn every_alert_asks_for_what_there_is_and_says_what_to_do() {
    let mut names = BTreeSet::new();
    for Alert { alert, expr, lasting, labels, annotations } in alerts() {
        let result = labels_that_result(&expr).unwrap_or_else(|error| panic!("{alert}: {error}"));
        for text in [&annotations.summary, &annotations.action] {
            assert!(text.len() > 10, "{alert}: {text}");
            for label in labels_named(text) {
                assert!(result.contains(label), "{alert} has no label {label}, only {result:?}");
            }
        }
        let anchor = alert.to_lowercase();
        assert_eq!(annotations.runbook, format!("docs/OPERATIONS.md#{anchor}"));
        assert!(["critical", "warning", "info"].contains(&labels.severity.as_str()), "{alert}");
        assert!(lasting.is_empty() || lasting.ends_with(['m', 'h']), "{alert}: {lasting}");
        assert!(names.insert(alert.clone()), "{alert} is there twice");
    }
    for wanted in ["EtlConservationDifference", "EtlBreakerOpen", "EtlWorkerDown", "EtlMaskKeysDiffer"] {
        assert!(names.contains(wanted), "{wanted}");
    }
}

/// Two releases in two namespaces are two services, with one Prometheus.
#[test]
fn alerts_keep_namespaces_apart() {
    for Alert { alert, expr, .. } in alerts() {
        for list in expr.split(" by (").skip(1).chain(expr.split(" on (").skip(1)) {
            let labels: Vec<_> = list.split(')').next().unwrap().split(", ").collect();
            assert!(labels.contains(&"namespace"), "{alert}: {labels:?}");
        }
        for aggregate in ["sum(", "max(", "min(", "count(", "avg("] {
            assert!(!expr.contains(aggregate), "{alert} adds up over namespaces");
        }
    }
}

/// One bad message that comes back every 30 seconds is most of what a quiet queue has.
#[test]
fn a_surge_of_rejects_is_more_than_one_message() {
    let surge = alerts().into_iter().find(|alert| alert.alert == "EtlRejectsSurge").unwrap();
    let (_, floor) =
        surge.expr.split_once("(increase(etl_messages_rejected_total[10m])) > ").expect("a least number");
    assert!(floor.trim().parse::<u32>().unwrap() > 600 / 30, "{floor}");
}

/// Grafana's shortest interval for a rate is four times what it takes for the scrape interval.
#[test]
fn grafana_knows_how_often_prometheus_scrapes() {
    let scraping: Value = serde_saphyr::from_str(SCRAPING).unwrap();
    let datasource: Value = serde_saphyr::from_str(DATASOURCE).unwrap();
    let interval = &datasource["datasources"][0]["jsonData"]["timeInterval"];
    assert_eq!(interval, &scraping["global"]["scrape_interval"]);
    assert!(interval.is_string());
}

#[test]
fn every_panel_asks_for_what_there_is() {
    let queries = dashboard_texts(&["expr"]);
    assert!(queries.len() > 40, "{}", queries.len());
    for query in &queries {
        labels_that_result(&filled_in(query)).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

#[test]
fn every_legend_names_a_label_of_its_query() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut legends = 0;
    for target in targets {
        let (query, legend) = (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap());
        let labels = labels_that_result(&filled_in(query)).unwrap();
        for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(labels.contains(label), "{query} has no {label}, only {labels:?}");
            legends += 1;
        }
    }
    assert!(legends > 10, "{legends}");
}

#[test]
fn variables_choose_among_what_there_is() {
    let queries = dashboard_texts(&["definition", "query"]);
    let queries: Vec<_> = queries.iter().filter(|query| query.starts_with("label_values(")).collect();
    assert_eq!(queries.len(), 4, "{queries:?}");
    for query in queries {
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')).unwrap();
        let (series, label) = inner.rsplit_once(", ").unwrap();
        assert!(labels_that_result(&filled_in(series)).unwrap().contains(label), "{query}");
    }
}

#[test]
fn no_metric_is_left_out_of_both() {
    let all = dashboard_texts(&["expr"]).join("\n") + RULES;
    for metric in METRICS {
        assert!(all.contains(&metric.name()), "{} is nowhere to be seen", metric.name());
    }
}

#[test]
fn the_scrape_job_is_the_one_that_the_rules_name() {
    let scraping: Value = serde_saphyr::from_str(SCRAPING).unwrap();
    assert_eq!(scraping["scrape_configs"][0]["job_name"], "etl-worker");
    assert_eq!(scraping["rule_files"][0], "etl.rules.yml");
    assert!(RULES.contains("up{job=\"etl-worker\"}"));
}

#[test]
fn the_check_finds_what_is_wrong() {
    for (query, wrong) in [
        ("etl_rows_total", "there is no metric etl_rows_total"),
        ("rate(etl_batch_seconds[5m])", "there is no metric etl_batch_seconds"),
        ("etl_breaker_open{part=\"sink\"}", "etl_breaker_open has no label part"),
        ("etl_ready{part=\"database\"}", "etl_ready never has part=\"database\""),
        ("sum by (reason) (etl_messages_returned_total)", "nothing below has the label reason"),
        ("sum by (le) (rate(etl_commit_seconds_sum[5m]))", "nothing below has the label le"),
        ("etl_ready and on (pod) up", "nothing below has the label pod"),
    ] {
        assert_eq!(labels_that_result(query).unwrap_err(), wrong, "{query}");
    }
    assert!(labels_that_result("sum(rate(etl_receives_total[5m])").is_err(), "a bracket is missing");
}
