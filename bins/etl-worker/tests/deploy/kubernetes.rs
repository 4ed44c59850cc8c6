//! Pods as a careful cluster wants them.

use serde_json::Value;

use super::{is_key, one};

/// What every pod of ours is like, of whichever kind.
pub(super) fn assert_careful(pod: &Value, what: &str) {
    let at = |path: &str| pod.pointer(path).unwrap_or_else(|| panic!("{what}: no {path}"));
    assert_eq!(at("/automountServiceAccountToken"), false, "{what}");
    assert_eq!(at("/securityContext/runAsNonRoot"), true, "{what}");
    assert_eq!(at("/securityContext/seccompProfile/type"), "RuntimeDefault", "{what}");
    for container in at("/containers").as_array().unwrap() {
        let at = |path: &str| container.pointer(path).unwrap_or_else(|| panic!("{what}: no {path}"));
        assert_eq!(at("/securityContext/allowPrivilegeEscalation"), false, "{what}");
        assert_eq!(at("/securityContext/readOnlyRootFilesystem"), true, "{what}");
        assert_eq!(at("/securityContext/capabilities/drop/0"), "ALL", "{what}");
        for bound in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"] {
            assert!(at(bound).is_string(), "{what}");
        }
        // What is mounted is there, and each secret's file is one.
        let volumes: Vec<_> = at_names(&pod["volumes"]);
        for mount in at_names(&container["volumeMounts"]) {
            assert!(volumes.contains(&mount), "{what}: no volume {mount}");
        }
        let files = secret_files(pod);
        for variable in at("/env").as_array().unwrap() {
            let (name, value) = (variable["name"].as_str().unwrap(), variable["value"].as_str().unwrap());
            assert!(is_key(name), "{what}: {name}");
            if let Some(file) = value.strip_prefix("/run/secrets/etl/") {
                assert!(files.iter().any(|mounted| mounted == file), "{what}: {value} is not mounted");
            }
        }
    }
}

fn at_names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|entry| entry["name"].as_str().unwrap()).collect()
}

/// The files of secrets, from wherever they come.
fn secret_files(pod: &Value) -> Vec<String> {
    let mut items = Vec::new();
    for volume in pod["volumes"].as_array().unwrap() {
        items.extend(volume.pointer("/secret/items").and_then(Value::as_array).into_iter().flatten());
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            items.extend(source.pointer("/secret/items").and_then(Value::as_array).into_iter().flatten());
        }
    }
    items.iter().map(|item| item["path"].as_str().unwrap().to_owned()).collect()
}

/// The worker's pod: probes where it listens, and time to end.
pub(super) fn assert_worker(pod: &Value, what: &str) {
    let container = &pod["containers"][0];
    let variable = |name: &str| {
        let entries = container["env"].as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["name"] == name);
        entry.unwrap_or_else(|| panic!("{what}: no {name}"))["value"].as_str().unwrap()
    };
    let port = variable("ETL_TELEMETRY__LISTEN").strip_prefix("0.0.0.0:").unwrap();
    assert_eq!(container["ports"][0]["containerPort"].to_string(), port, "{what}");
    for (probe, path) in [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path, "{what}: {probe}");
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{what}: {probe}");
    }
    let grace: u64 = variable("ETL_PIPELINE__SHUTDOWN_GRACE_S").parse().unwrap();
    let killed_after = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(killed_after > grace, "{what}: killed after {killed_after} s, done after {grace} s");
}

#[test]
fn the_base_is_a_careful_worker() {
    let deployment = one("deploy/kustomize/base/deployment.yaml");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_careful(pod, "base");
    assert_worker(pod, "base");
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);

    let account = one("deploy/kustomize/base/serviceaccount.yaml");
    assert_eq!(account["metadata"]["name"], pod["serviceAccountName"]);
    // Kustomize puts the labels on the pods, and on no selector of these two.
    let labels = one("deploy/kustomize/base/kustomization.yaml")["labels"][0]["pairs"].clone();
    let budget = one("deploy/kustomize/base/poddisruptionbudget.yaml");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], labels);
    let network = one("deploy/kustomize/base/networkpolicy.yaml");
    assert_eq!(network["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(network["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
}

#[test]
fn the_job_migrates_and_no_more() {
    let job = one("deploy/kustomize/migrate/job.yaml");
    let pod = &job["spec"]["template"]["spec"];
    assert_careful(pod, "job");
    assert_eq!(pod["containers"][0]["args"], serde_json::json!(["migrate"]));
    assert_eq!(pod["restartPolicy"], "Never");
    let labels = one("deploy/kustomize/migrate/kustomization.yaml")["labels"][0]["pairs"].clone();
    let network = one("deploy/kustomize/migrate/networkpolicy.yaml");
    assert_eq!(network["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(network["spec"].get("ingress"), None, "nobody gets in");
    assert_eq!(network["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
}

/// The pod of docs/OPERATIONS.md for one command.
#[test]
fn the_admins_pod_is_careful_and_finds_its_secret() {
    let page = super::text("docs/OPERATIONS.md");
    let json = page.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let pod: Value = serde_json::from_str(json).unwrap();
    let pod = &pod["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    assert!(is_key(container["env"][0]["name"].as_str().unwrap()));
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    // For its group alone.
    assert_eq!(pod["volumes"][0]["secret"]["defaultMode"], 0o440);
    assert!(page.contains(&format!("kubectl run {} ", container["name"].as_str().unwrap())));
}

#[test]
fn what_kustomize_is_told_to_take_is_there() {
    for directory in ["deploy/kustomize/base", "deploy/kustomize/migrate"] {
        let kustomization = one(&format!("{directory}/kustomization.yaml"));
        let resources = kustomization["resources"].as_array().unwrap();
        for resource in resources {
            let path = format!("{directory}/{}", resource.as_str().unwrap());
            assert!(one(&path)["kind"].is_string(), "{path}");
        }
        // And nothing is forgotten.
        let there = super::files_under(directory).iter().filter(|path| path.ends_with(".yaml")).count();
        assert_eq!(there, resources.len() + 1, "{directory}");
    }
}
