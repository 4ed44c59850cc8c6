//! What is in `deploy/`, as the programs see it that will read it. Nothing is started; the manifests themselves are tested in
//! `bins/etl-worker/tests/deploy`.

use std::ffi::OsStr;
use std::path::Path;
use std::{env, fs, process};

use crate::{Result, cargo, say};

const CHART: &str = "deploy/helm/fetch-etl";
const KUSTOMIZATIONS: [&str; 2] = ["deploy/kustomize/base", "deploy/kustomize/migrate"];
const UNIT: &str = "deploy/systemd/etl-worker.service";
/// Where the unit's program is once it is installed, and what stands in for it here.
const INSTALLED: [&str; 2] = ["/usr/local/bin/etl-worker", "/bin/true"];
/// systemd's figure for what a service could do to the machine, times ten: 10 is little, 100 everything.
const EXPOSURE: &str = "--threshold=20";

/// A program that may not be there, and what it does.
type Look = (&'static str, fn() -> Result<()>);

const LOOKS: [Look; 4] = [
    ("helm", chart),
    ("kubectl", kustomizations),
    ("kubernetes-validate", schemas),
    ("systemd-analyze", unit),
];

/// Lets each program look that is installed, and says which are not.
pub(super) fn is_readable() -> Result<()> {
    for (program, look) in LOOKS {
        if is_installed(program) {
            look()?;
        } else if env::var_os("GITHUB_ACTIONS").is_some() {
            return Err(format!("{program} is not installed").into());
        } else {
            say("ci", format!("skipped: {program} is not installed"));
        }
    }
    Ok(())
}

fn is_installed(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|directory| directory.join(program).is_file()))
}

fn chart() -> Result<()> {
    cargo::run(cargo::command("helm").args(["lint", "--strict", CHART]))?;
    // The selection of `cargo xtask test`, so that nothing is built again.
    let test =
        ["test", "--workspace", "--all-features", "--test", "main", "--", "--ignored", "what_helm_renders"];
    cargo::run(cargo::cargo().args(test))
}

fn kustomizations() -> Result<()> {
    for directory in KUSTOMIZATIONS {
        let rendered = cargo::quiet(cargo::command("kubectl").args(["kustomize", directory]))?;
        let objects = rendered.lines().filter(|line| line.starts_with("kind: ")).count();
        say("ci", format!("{directory}: {objects} objects"));
    }
    Ok(())
}

/// What is rendered, against the schemas of Kubernetes (`pip install kubernetes-validate`). Unknown fields are errors.
fn schemas() -> Result<()> {
    let mut rendered = Vec::new();
    if is_installed("helm") {
        rendered.push(cargo::quiet(cargo::command("helm").args(["template", "logins", CHART]))?);
    }
    for directory in KUSTOMIZATIONS.iter().filter(|_| is_installed("kubectl")) {
        rendered.push(cargo::quiet(cargo::command("kubectl").args(["kustomize", directory]))?);
    }
    in_directory(|directory| {
        for (number, objects) in rendered.iter().enumerate() {
            let file = directory.join(format!("{number}.yaml"));
            fs::write(&file, objects)?;
            cargo::run(cargo::command("kubernetes-validate").arg("--strict").arg(&file))?;
        }
        Ok(())
    })
}

/// In a copy, for systemd wants the program to be there.
fn unit() -> Result<()> {
    let unit = fs::read_to_string(cargo::root().join(UNIT))?;
    in_directory(|directory| {
        let copy = directory.join("etl-worker.service");
        fs::write(&copy, unit.replace(INSTALLED[0], INSTALLED[1]))?;
        let analyze = |args: &[&OsStr]| cargo::quiet(cargo::command("systemd-analyze").args(args)).map(drop);
        analyze(&["verify".as_ref(), copy.as_ref()])?;
        analyze(&["security".as_ref(), "--offline=true".as_ref(), EXPOSURE.as_ref(), copy.as_ref()])
    })
}

/// Works in a directory that is there for that only.
fn in_directory(work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let directory = env::temp_dir().join(format!("fetch-etl-deploy-{}", process::id()));
    fs::create_dir_all(&directory)?;
    let outcome = work(&directory);
    fs::remove_dir_all(&directory)?;
    outcome
}
