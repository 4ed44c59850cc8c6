//! The chart, as far as it can be looked at without Helm. `cargo xtask ci` renders it where Helm is installed.

use std::collections::BTreeSet;
use std::process::Command;

use etl_worker::settings::{Inputs, Loaded};
use serde_json::Value;

use super::kubernetes::{assert_careful, assert_worker};
use super::schema::faults;
use super::{file, files_under, one, text};

const CHART: &str = "deploy/helm/fetch-etl";

fn values() -> Value {
    one(&format!("{CHART}/values.yaml"))
}

fn schema() -> Value {
    serde_json::from_str(&text(&format!("{CHART}/values.schema.json"))).unwrap()
}

#[test]
fn the_values_are_as_their_schema_says() {
    assert_eq!(faults(&schema(), &values()), Vec::<String>::new());
}

#[test]
fn values_that_are_misspelt_missing_or_of_another_type_are_refused() {
    let wrong = |change: fn(&mut Value)| {
        let mut values = values();
        change(&mut values);
        faults(&schema(), &values)
    };
    assert_eq!(wrong(|values| values["replicas"] = 3.into()), [".replicas is unknown"]);
    assert_eq!(wrong(|values| values["replicaCount"] = "3".into()), [".replicaCount is not as type says"]);
    assert_eq!(wrong(|values| values["keda"]["maxReplica"] = 3.into()), [".keda.maxReplica is unknown"]);
    assert_eq!(wrong(|values| values["port"] = 80.into()), [".port is not as minimum says"]);
    let forgotten = wrong(|values| values["secrets"]["databaseUrl"] = serde_json::json!({"name": "x"}));
    assert_eq!(forgotten, [".secrets.databaseUrl.key is missing"]);
}

/// The other direction: a key that the schema knows and the values do not show is one that nobody finds.
#[test]
fn every_value_that_there_is_stands_in_the_file() {
    let (schema, values) = (schema(), values());
    for (name, property) in schema["properties"].as_object().unwrap() {
        // Helm's own.
        if name == "global" {
            continue;
        }
        let value = values.get(name).unwrap_or_else(|| panic!("{name} is not in values.yaml"));
        let is_probes = name == "probes";
        for inner in property["properties"].as_object().into_iter().flatten().filter(|_| !is_probes) {
            assert!(value.get(inner.0).is_some(), "{name}.{} is not in values.yaml", inner.0);
        }
    }
}

#[test]
fn templates_use_values_that_there_are() {
    let values = values();
    let mut used = BTreeSet::new();
    for path in files_under(&format!("{CHART}/templates")) {
        for (_, rest) in
            text(&path).match_indices(".Values.").map(|(at, _)| ((), text(&path)[at + 8..].to_owned()))
        {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
            let pointer = format!("/{}", rest[..end].trim_end_matches('.').replace('.', "/"));
            assert!(values.pointer(&pointer).is_some(), "{path}: {pointer} is not in values.yaml");
            used.insert(rest[..end].split('.').next().unwrap().to_owned());
        }
    }
    let known: BTreeSet<_> = values.as_object().unwrap().keys().cloned().collect();
    assert_eq!(used, known, "values that no template uses");
}

#[test]
fn the_configuration_of_the_values_and_of_the_base_is_one_that_the_worker_takes() {
    for toml in [values()["config"].as_str().unwrap().to_owned(), text("deploy/kustomize/base/etl.toml")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("etl.toml");
        std::fs::write(&path, toml).unwrap();
        let env = [("ETL_SINK__DATABASE_URL", "postgres://etl@db/logins")];
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let inputs = Inputs { env, ..Inputs::new(Some(path), Vec::new()) };
        Loaded::read(&inputs).unwrap().settings().unwrap();
    }
}

#[test]
fn the_chart_and_the_base_run_this_version() {
    let chart = one(&format!("{CHART}/Chart.yaml"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    for directory in ["base", "migrate"] {
        let kustomization = one(&format!("deploy/kustomize/{directory}/kustomization.yaml"));
        assert_eq!(kustomization["images"][0]["newTag"], env!("CARGO_PKG_VERSION"));
    }
}

/// `cargo xtask ci` runs it where Helm is installed, and says so where it is not.
#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_is_a_careful_worker() {
    let render = |args: &[&str]| {
        let output =
            Command::new("helm").args(["template", "logins"]).arg(file(CHART)).args(args).output().unwrap();
        let rendered = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_saphyr::from_multiple::<Value>(&rendered).unwrap()
    };
    let of_kind = |objects: &[Value], kind: &str| {
        objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}")).clone()
    };
    let plain = render(&[]);
    let deployment = of_kind(&plain, "Deployment");
    assert_worker(&deployment["spec"]["template"]["spec"], "chart");
    assert_careful(&deployment["spec"]["template"]["spec"], "chart");
    assert_careful(&of_kind(&plain, "Job")["spec"]["template"]["spec"], "migration");
    assert_careful(&of_kind(&plain, "Pod")["spec"], "test");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (kind, selector) in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")] {
        for (name, value) in of_kind(&plain, kind)["spec"][selector]["matchLabels"].as_object().unwrap() {
            assert_eq!(&labels[name], value, "{kind}");
        }
    }
    let checksum = |objects: &[Value]| {
        of_kind(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            .clone()
    };
    let other = render(&["--set", "config=[source]"]);
    assert_ne!(checksum(&plain), checksum(&other), "another configuration is another pod");

    let rules = file("deploy/prometheus/etl.rules.yml");
    let scaled = render(&[
        "--set=keda.enabled=true,keda.queueUrl=https://sqs.eu-west-1.amazonaws.com/1/logins,keda.region=eu-west-1",
        "--set=podMonitor.enabled=true,prometheusRule.enabled=true",
        &format!("--set-file=prometheusRule.rules={}", rules.display()),
    ]);
    let deployment = of_kind(&scaled, "Deployment");
    assert_eq!(deployment["spec"].get("replicas"), None, "KEDA decides");
    let scaler = of_kind(&scaled, "ScaledObject");
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert_eq!(scaler["spec"]["triggers"][0]["metadata"]["queueLength"], "5000");
    let authentication = of_kind(&scaled, "TriggerAuthentication");
    assert_eq!(
        scaler["spec"]["triggers"][0]["authenticationRef"]["name"],
        authentication["metadata"]["name"]
    );
    let monitor = of_kind(&scaled, "PodMonitor");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], container["ports"][0]["name"]);
    assert!(of_kind(&scaled, "PrometheusRule")["spec"]["groups"][0]["rules"].is_array());
}
