//! The commands of README.md and docs/ do what they are there for.
//!
//! A block of commands that needs nothing but our programs is run here, page by page. One that needs more says what, behind its fence:
//! `sh needs=cluster`; or that CI itself runs it: `sh run-by=ci`. Those that need a Postgres or a queue get them here, too: a server of
//! their own, whose logins are made as docs/DEPLOY.md says. All commands of ours are parsed besides, by a test of `etl-admin`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fetch_etl_harness::{LocalQueue, binary};
use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};
use fetch_etl_testing::pages::{self, Block};
use tempfile::TempDir;

/// What a block may need that a test does not have. `worker` is one that runs beside, or a command that does not end by itself;
/// `checkout` is this repository, built, and a server on the usual port.
const NEEDS: [&str; 8] =
    ["aws", "checkout", "cluster", "docker", "recipient", "systemd", "toolchain", "worker"];
/// What a block may need that a test can start.
const STARTED: [&str; 2] = ["postgres", "queue"];
const PROGRAMS: [&str; 3] = ["etl-worker", "etl-admin", "fetch-etl-local-sqs"];

const SAMPLE: &str = r#"{"user_id":"u-1","app_version":"2.3.0","device_type":"ios","ip":"192.0.2.7","locale":"US","device_id":"593-47-5928"}"#;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn shell_blocks() -> Vec<Block> {
    let blocks = pages::blocks(repository());
    blocks.into_iter().filter(|block| ["sh", "bash", "shell"].contains(&block.language.as_str())).collect()
}

#[test]
fn every_block_is_run_or_says_what_it_needs() {
    for Block { page, line, mark, .. } in shell_blocks() {
        let is_known = match mark.split_once('=') {
            None => mark.is_empty(),
            Some(("needs", needs)) => {
                needs.split(',').all(|need| NEEDS.contains(&need) || STARTED.contains(&need))
            }
            Some(("run-by", who)) => who == "ci",
            Some(_) => false,
        };
        assert!(is_known, "{page}:{line}: `{mark}`; known is needs= of {NEEDS:?}, {STARTED:?}");
    }
}

#[test]
fn blocks_that_need_nothing_do_what_they_are_there_for() {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for block in shell_blocks().into_iter().filter(|block| block.mark.is_empty()) {
        pages.entry(block.page).or_default().push_str(&block.text);
    }
    assert!(!pages.is_empty());
    let programs = programs();
    for (page, script) in pages {
        let directory = tempfile::tempdir().unwrap();
        run(&page, &script, directory.path(), programs.path(), &[]);
    }
}

/// A directory with our programs, and what stands in for cargo.
fn programs() -> TempDir {
    let programs = tempfile::tempdir().unwrap();
    for program in PROGRAMS {
        std::os::unix::fs::symlink(binary(program), programs.path().join(program)).unwrap();
    }
    // `cargo run … -p PROGRAM -- ARGUMENTS` runs what is built already.
    let cargo = "#!/bin/sh\n[ \"$1\" = run ] || exit 97\nwhile [ \"$1\" != -p ]; do shift; done\nprogram=$2\n\
                 while [ $# -gt 0 ] && [ \"$1\" != -- ]; do shift; done\n[ $# -eq 0 ] || shift\nexec \"$program\" \"$@\"\n";
    let shim = programs.path().join("cargo");
    fs::write(&shim, cargo).unwrap();
    fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

/// Runs a script as somebody in that directory would type it, and shows what it said where it fails.
fn run(what: &str, script: &str, directory: &Path, programs: &Path, environment: &[(String, String)]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory)
        .env("PATH", format!("{}:{path}", programs.display()))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{what}: {script}\n{}", String::from_utf8_lossy(&said));
}

/// What docs/DEPLOY.md makes is what all other pages work on, and `etl-worker check` finds nothing in it.
#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_need_a_postgres_or_a_queue_do_what_they_are_there_for() {
    let Some(binaries) = Binaries::find() else {
        eprintln!("not run: there are no programs of a Postgres server on this machine");
        return;
    };
    let cluster = Cluster::start(&binaries, Durability::Full).unwrap();
    let dead = [
        "--queue",
        "logins-dead,retention=1209600",
        "--dead-letter",
        "logins=logins-dead,max-receive-count=5",
    ];
    let queue = LocalQueue::start(30, &dead);
    let programs = programs();
    for program in ["psql", "pg_dump"] {
        let found = binaries.program(program);
        // Else it is on PATH.
        if found.is_absolute() {
            std::os::unix::fs::symlink(found, programs.path().join(program)).unwrap();
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let deploy = repository().join("deploy").canonicalize().unwrap();
    std::os::unix::fs::symlink(deploy, directory.path().join("deploy")).unwrap();
    let server = cluster.url();
    let (address, _) = server.rsplit_once('/').unwrap();
    let url = |login: &str| format!("{}/logins", address.replace("//postgres@", &format!("//{login}@")));
    let mut environment = queue.worker_environment();
    for (name, login) in [("ADMIN_URL", "postgres"), ("OWNER_URL", "etl_owner"), ("WORKER_URL", "etl_worker")]
    {
        environment.push((name.to_owned(), url(login)));
    }
    let run_on = |what: &str, script: &str, login: &str| {
        let mut environment = environment.clone();
        environment.push(("ETL_SINK__DATABASE_URL".to_owned(), url(login)));
        environment.push(("ETL_SINK__MIGRATE".to_owned(), "false".to_owned()));
        run(what, script, directory.path(), programs.path(), &environment);
    };
    fs::write(directory.path().join("etl.toml"), "[masking]\nkey_file = \"masking.key\"\n").unwrap();
    let before = format!("psql {server} -c 'CREATE DATABASE logins'; etl-admin keygen master");
    run_on("before all pages", &before, "postgres");

    let mut blocks: Vec<_> = shell_blocks().into_iter().filter(|block| is_started(&block.mark)).collect();
    // It makes what the others need.
    blocks.sort_by_key(|block| block.page != "docs/DEPLOY.md");
    assert_eq!(blocks[0].mark, "needs=postgres", "the logins are made first");
    let mut pages = BTreeMap::<_, usize>::new();
    for (number, block) in blocks.iter().enumerate() {
        // An operator works with more rights than the worker, whose own check is to find nothing.
        let login = if block.mark == "needs=queue" { "etl_worker" } else { "postgres" };
        run_on(&format!("{}:{}", block.page, block.line), &block.text, login);
        *pages.entry(&block.page).or_default() += 1;
        if number == 0 {
            queue.send([SAMPLE.to_owned()]).await;
            run_on("a first worker", "etl-worker run --until-empty --config etl.toml", "etl_worker");
        }
    }
    for page in ["docs/CHECK.md", "docs/DEPLOY.md", "docs/MASKING.md", "docs/OPERATIONS.md"] {
        assert!(pages.contains_key(&page.to_owned()), "{page}: {pages:?}");
    }
}

/// Whether a block needs something, and nothing but what is started here.
fn is_started(mark: &str) -> bool {
    mark.strip_prefix("needs=").is_some_and(|needs| needs.split(',').all(|need| STARTED.contains(&need)))
}
