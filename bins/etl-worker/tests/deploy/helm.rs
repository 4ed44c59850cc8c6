//! The chart, as far as it can be looked at without Helm. rendered.rs has what is made of it.

use std::collections::BTreeSet;

use etl_worker::settings::{Inputs, Loaded};
use serde_json::Value;

use super::schema::faults;
use super::{files_under, one, text};

pub(super) const CHART: &str = "deploy/helm/fetch-etl";

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

/// Without Helm: each of the three pods takes what stands in one place.
#[test]
fn all_pods_of_the_chart_are_made_of_the_same_parts() {
    for pod in ["deployment.yaml", "migration.yaml", "tests/check.yaml"] {
        let template = text(&format!("{CHART}/templates/{pod}"));
        for part in ["fetch-etl.scheduling", "fetch-etl.image"] {
            assert!(template.contains(&format!("include \"{part}\" .")), "{pod}: no {part}");
        }
        let takes = |value: &str, helper: &str| {
            template.contains(&format!(".Values.{value}"))
                || template.contains(&format!("include \"{helper}\" ."))
        };
        assert!(takes("extraVolumes", "fetch-etl.volumes"), "{pod}");
        assert!(takes("extraVolumeMounts", "fetch-etl.volumeMounts"), "{pod}");
        assert!(takes("env", "fetch-etl.env"), "{pod}");
        assert!(template.contains("toYaml .Values.containerSecurityContext"), "{pod}");
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
