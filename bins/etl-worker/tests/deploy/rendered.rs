//! What Helm makes of the chart. `cargo xtask ci` runs this where Helm is installed, and says so where it is not.

use std::process::Command;

use serde_json::Value;

use super::file;
use super::helm::CHART;
use super::kubernetes::{assert_careful, assert_worker};

/// All objects, with these values.
fn render(args: &[&str]) -> Vec<Value> {
    let (is_done, told) = helm(args);
    assert!(is_done, "{told}");
    serde_saphyr::from_multiple(&told).unwrap()
}

/// Whether Helm takes these values, and what it says.
fn helm(args: &[&str]) -> (bool, String) {
    let output =
        Command::new("helm").args(["template", "logins"]).arg(file(CHART)).args(args).output().unwrap();
    let told = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.success(), String::from_utf8(told).unwrap())
}

fn of_kind<'o>(objects: &'o [Value], kind: &str) -> &'o Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// The specifications of the three pods, with their metadata: the worker's, the migration's, the check's.
fn pods(objects: &[Value]) -> [(&Value, &Value); 3] {
    let template = |kind| {
        let template = &of_kind(objects, kind)["spec"]["template"];
        (&template["metadata"], &template["spec"])
    };
    let check = of_kind(objects, "Pod");
    [template("Deployment"), template("Job"), (&check["metadata"], &check["spec"])]
}

#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_is_a_careful_worker() {
    let plain = render(&[]);
    let deployment = of_kind(&plain, "Deployment");
    assert_worker(&deployment["spec"]["template"]["spec"], "chart");
    for ((_, pod), what) in pods(&plain).into_iter().zip(["chart", "migration", "test"]) {
        assert_careful(pod, what);
    }
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for (kind, selector) in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")] {
        for (name, value) in of_kind(&plain, kind)["spec"][selector]["matchLabels"].as_object().unwrap() {
            assert_eq!(&labels[name], value, "{kind}");
        }
    }
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["whenUnsatisfiable"], "ScheduleAnyway");
    assert_eq!(spread["labelSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
    let checksum = |objects: &[Value]| {
        of_kind(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            .clone()
    };
    let other = render(&["--set", "config=[source]"]);
    assert_ne!(checksum(&plain), checksum(&other), "another configuration is another pod");
}

#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_lets_each_pod_out_and_only_workers_be_asked() {
    let egress = "networkPolicy.extraEgress[0].ports[0]";
    let rendered = render(&[&format!("--set={egress}.protocol=TCP,{egress}.port=4318")]);
    let policies: Vec<_> = rendered.iter().filter(|object| object["kind"] == "NetworkPolicy").collect();
    for (metadata, _) in pods(&rendered) {
        let component = &metadata["labels"]["app.kubernetes.io/component"];
        let of_pod: Vec<_> = policies
            .iter()
            .filter(|policy| {
                policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == *component
            })
            .collect();
        let [policy] = of_pod[..] else { panic!("{component}: {} policies", of_pod.len()) };
        assert_eq!(policy["spec"]["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
        assert_eq!(policy["spec"].get("ingress").is_some(), component == "worker", "{component}");
        let rules = policy["spec"]["egress"].as_array().unwrap();
        let ports: Vec<_> = rules.iter().map(|rule| rule["ports"][0]["port"].as_u64().unwrap()).collect();
        assert_eq!(ports, [53, 443, 5432, 4318], "{component}");
    }
    let weight = |object: &Value| -> i32 {
        object["metadata"]["annotations"]["helm.sh/hook-weight"].as_str().unwrap().parse().unwrap()
    };
    let hook = policies.iter().find(|policy| policy["metadata"]["annotations"].is_object()).unwrap();
    assert!(weight(hook) < weight(of_kind(&rendered, "Job")), "the Job is let out before it runs");
    assert_eq!(
        hook["metadata"]["annotations"]["helm.sh/hook"],
        of_kind(&rendered, "Job")["metadata"]["annotations"]["helm.sh/hook"]
    );
}

/// What is said once holds for every pod.
#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_has_the_same_surroundings_for_every_pod() {
    let values = serde_json::json!({
        "extraVolumes": [{ "name": "ca", "configMap": { "name": "rds-ca" } }],
        "extraVolumeMounts": [{ "name": "ca", "mountPath": "/etc/etl-ca", "readOnly": true }],
        "env": [{ "name": "RUST_LOG", "value": "debug" }],
        "nodeSelector": { "pool": "etl" },
        "tolerations": [{ "key": "etl", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "priorityClassName": "high",
        "imagePullSecrets": [{ "name": "registry" }],
        "podLabels": { "team": "etl", "mesh": "in" },
        "podAnnotations": { "note": "x" },
        "jobs": { "podLabels": { "mesh": "out" }, "podAnnotations": { "inject": "false" } },
        "podSecurityContext": { "runAsUser": null },
        "check": { "accept": ["masking-partial", "clock-differs-from-queue"] },
        "secrets": { "maskingKey": { "name": "" } },
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("values.json");
    std::fs::write(&path, values.to_string()).unwrap();
    let rendered = render(&["--values", path.to_str().unwrap()]);
    for (number, (metadata, pod)) in pods(&rendered).into_iter().enumerate() {
        for key in ["nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"] {
            assert_eq!(pod[key], values[key], "{number}: {key}");
        }
        let has = |list: &Value, wanted: &Value| list.as_array().unwrap().contains(wanted);
        let container = &pod["containers"][0];
        assert!(has(&pod["volumes"], &values["extraVolumes"][0]), "{number}");
        assert!(has(&container["volumeMounts"], &values["extraVolumeMounts"][0]), "{number}");
        assert!(has(&container["env"], &values["env"][0]), "{number}");
        assert_eq!(pod["securityContext"].get("runAsUser"), None, "{number}");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{number}");
        assert_eq!(metadata["labels"]["team"], "etl");
        assert_eq!(metadata["annotations"]["note"], "x");
        assert_eq!(metadata["labels"]["mesh"], if number == 0 { "in" } else { "out" });
        assert_eq!(metadata["annotations"].get("inject").is_some(), number != 0);
        let keyed = container["env"].as_array().unwrap().iter();
        assert!(!keyed.into_iter().any(|variable| variable["name"] == "ETL_MASKING__KEY_FILE"));
    }
    let check = &of_kind(&rendered, "Pod")["spec"]["containers"][0]["args"];
    let accepted = ["--accept=masking-partial", "--accept=clock-differs-from-queue"];
    assert_eq!(check.as_array().unwrap()[3..], accepted);
}

#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_without_a_migration_lets_the_workers_migrate() {
    let rendered = render(&["--set=migration.enabled=false"]);
    assert!(!rendered.iter().any(|object| object["kind"] == "Job"));
    assert!(!rendered.iter().any(|object| object["metadata"]["name"] == "logins-fetch-etl-migrate"));
    let container = &of_kind(&rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let mut env = container["env"].as_array().unwrap().iter();
    assert!(!env.any(|variable| variable["name"] == "ETL_SINK__MIGRATE"));
}

#[test]
#[ignore = "needs Helm"]
fn what_helm_renders_scales_and_is_watched() {
    let rules = file("deploy/prometheus/etl.rules.yml");
    let dashboard = file("deploy/grafana/etl-worker.json");
    let queue = "--set=keda.enabled=true,keda.queueUrl=https://sqs.eu-west-1.amazonaws.com/1/logins,keda.region=eu-west-1";
    let scaled = render(&[
        queue,
        "--set=podMonitor.enabled=true,prometheusRule.enabled=true,dashboard.enabled=true",
        "--set=prometheusRule.docsUrl=https://git.example/docs/",
        &format!("--set-file=prometheusRule.rules={}", rules.display()),
        &format!("--set-file=dashboard.json={}", dashboard.display()),
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
    let identity =
        |objects: &[Value]| of_kind(objects, "TriggerAuthentication")["spec"]["podIdentity"].clone();
    assert_eq!(identity(&scaled), serde_json::json!({ "provider": "aws", "identityOwner": "workload" }));
    let role = "arn:aws:iam::123456789012:role/keda";
    let with_role = render(&[queue, &format!("--set=keda.roleArn={role}")]);
    // KEDA takes one of the two only.
    assert_eq!(identity(&with_role), serde_json::json!({ "provider": "aws", "roleArn": role }));
    assert!(!helm(&[queue, "--set=keda.minReplicas=0"]).0, "without a worker EtlWorkerDown calls");
    assert!(!helm(&[queue, "--set=keda.identityOwner=operator"]).0);

    let monitor = of_kind(&scaled, "PodMonitor");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], container["ports"][0]["name"]);
    let rule = &of_kind(&scaled, "PrometheusRule")["spec"]["groups"][0]["rules"][0];
    assert_eq!(rule["annotations"]["runbook_url"], "https://git.example/docs/OPERATIONS.md#etlworkerdown");
    let board =
        scaled.iter().find(|object| object["metadata"]["name"] == "logins-fetch-etl-dashboard").unwrap();
    let json = board["data"]["etl-worker.json"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(json).unwrap()["panels"].is_array());
}
