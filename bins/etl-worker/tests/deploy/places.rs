//! The image, docker-compose.yml and the systemd unit.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use clap::Parser as _;
use etl_worker::cli::Cli;
use etl_worker::settings::{Inputs, Loaded};
use serde_json::Value;

use super::{file, is_key, one, text};

/// `${NAME:-default}` aside, a path of this repository that is mounted somewhere.
fn mounted(compose: &Value) -> BTreeSet<String> {
    let services = compose["services"].as_object().unwrap().values();
    let volumes = services.flat_map(|service| service["volumes"].as_array().into_iter().flatten());
    let ours = volumes.filter_map(|volume| volume.as_str()?.strip_prefix("./")?.split(':').next());
    ours.map(str::to_owned).collect()
}

#[test]
fn compose_pins_its_images_and_mounts_what_there_is() {
    let compose = one("docker-compose.yml");
    for (name, service) in compose["services"].as_object().unwrap() {
        let image = service["image"].as_str().unwrap();
        // Ours is built here.
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(
            image == "fetch-etl/etl-worker" || tag.is_some_and(|tag| tag.contains('.') && tag != "latest"),
            "{name}: {image}"
        );
        for dependency in service["depends_on"].as_object().into_iter().flatten() {
            assert!(compose["services"].get(dependency.0).is_some(), "{name}: {}", dependency.0);
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: open to the network");
        }
    }
    for path in mounted(&compose) {
        assert!(file(&path).exists(), "{path} is not there");
    }
}

#[test]
fn compose_s_workers_say_how_they_are_reached_and_get_time_to_end() {
    let compose = one("docker-compose.yml");
    for name in ["worker", "worker-localstack"] {
        let worker = &compose["services"][name];
        assert_eq!(worker["environment"]["ETL_TELEMETRY__LISTEN"], "0.0.0.0:9600");
        let seconds: u64 =
            worker["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap().parse().unwrap();
        assert!(seconds > 30, "pipeline.shutdown_grace_s is 30");
        for (variable, _) in worker["environment"].as_object().unwrap() {
            assert!(variable.starts_with("AWS_") || is_key(variable), "{variable}");
        }
    }
    let datasource = one("deploy/compose/grafana/datasource.yml");
    assert_eq!(datasource["datasources"][0]["url"], "http://prometheus:9090");
    let provider = one("deploy/compose/grafana/dashboards.yml");
    let dashboards = provider["providers"][0]["options"]["path"].as_str().unwrap().to_owned();
    let volumes = compose["services"]["grafana"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume.as_str().unwrap().contains(&dashboards)));
}

#[test]
fn the_image_asks_the_worker_itself_whether_it_is_well() {
    let dockerfile = text("Dockerfile");
    let (_, check) = dockerfile.split_once("HEALTHCHECK ").unwrap();
    let command = check.split_once("CMD ").unwrap().1.lines().next().unwrap();
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    Cli::try_parse_from(&words).unwrap();
    assert!(dockerfile.contains(&format!("ENTRYPOINT [\"{}\"]", words[0])));
    assert!(dockerfile.contains("USER 65532:65532") && dockerfile.contains("EXPOSE 9600"));
    assert!(dockerfile.contains("ENV ETL_TELEMETRY__LISTEN=0.0.0.0:9600"));
    // What the build is told of its commit is there before it begins.
    let told = dockerfile.find("ENV BUILD_COMMIT=$BUILD_COMMIT").unwrap();
    assert!(dockerfile.find("ARG BUILD_COMMIT=unknown").unwrap() < told);
    assert!(told < dockerfile.find("cargo build").unwrap());
}

#[test]
fn the_unit_starts_the_worker_with_secrets_that_it_loads() {
    let unit = text("deploy/systemd/etl-worker.service");
    let all = |name: &str| {
        let name = format!("{name}=");
        unit.lines().filter_map(|line| line.strip_prefix(&name)).map(str::to_owned).collect::<Vec<_>>()
    };
    Cli::try_parse_from(all("ExecStart")[0].split_whitespace()).unwrap();
    let loaded: Vec<_> =
        all("LoadCredential").iter().map(|line| line.split_once(':').unwrap().0.to_owned()).collect();
    for line in all("Environment") {
        let (name, value) = line.split_once('=').unwrap();
        assert!(is_key(name), "{name}");
        if let Some(credential) = value.strip_prefix("%d/") {
            assert!(loaded.iter().any(|name| name == credential), "{credential} is not loaded");
        }
        if name == "ETL_MASKING__KEY_CREDENTIAL" {
            assert!(loaded.iter().any(|name| name == value), "{value} is not loaded");
        }
    }
    let stop: u64 = all("TimeoutStopSec")[0].parse().unwrap();
    let grace = all("Environment")
        .iter()
        .find_map(|line| line.strip_prefix("ETL_PIPELINE__SHUTDOWN_GRACE_S=")?.parse().ok());
    assert!(stop > grace.unwrap_or(u64::MAX));
    // Of a login that only adds rows nobody can expect the tables.
    assert!(all("Environment").contains(&"ETL_SINK__MIGRATE=false".to_owned()));
    for hardening in [
        "DynamicUser=yes",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=",
        "LimitCORE=0",
    ] {
        assert!(unit.lines().any(|line| line == hardening), "{hardening}");
    }
}

/// What the page says belongs in /etc/etl/etl.toml fits what the unit sets: no secret has two ways.
#[test]
fn the_units_environment_and_the_pages_configuration_are_one_that_the_worker_takes() {
    let page = text("docs/DEPLOY.md");
    let (_, section) = page.split_once("\n## systemd\n").unwrap();
    let toml = section.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let credentials = tempfile::tempdir().unwrap();
    let path = credentials.path().join("database-url");
    fs::write(&path, "postgres://etl@db/logins").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    let directory = credentials.path().to_str().unwrap();
    let config = credentials.path().join("etl.toml");
    fs::write(&config, toml).unwrap();
    let unit = text("deploy/systemd/etl-worker.service");
    let set = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let mut env: Vec<(_, String)> = set.map(|(name, value)| (name, value.replace("%d", directory))).collect();
    let resolve = |env: &[(&str, String)]| {
        let env = env.iter().map(|(name, value)| ((*name).into(), value.into())).collect();
        Loaded::read(&Inputs { env, ..Inputs::new(Some(config.clone()), Vec::new()) }).unwrap().settings()
    };
    let settings = resolve(&env).unwrap();
    assert!(!settings.sink.migrate);
    // And a second way to a secret is refused: why the page says what must not stand there.
    env.push(("ETL_MASKING__KEY_FILE", "/etc/etl/mask.key".to_owned()));
    assert!(resolve(&env).is_err());
}
