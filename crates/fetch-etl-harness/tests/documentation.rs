//! The commands of README.md and docs/ do what they are there for.
//!
//! A block of commands that needs nothing but our programs is run here, page by page. One that needs more says what, behind its fence:
//! `sh needs=cluster`; or that CI itself runs it: `sh run-by=ci`. All commands of ours are parsed besides, by a test of `etl-admin`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fetch_etl_harness::binary;
use fetch_etl_testing::pages::{self, Block};

/// What a block may need that a test does not have.
const NEEDS: [&str; 8] =
    ["aws", "cluster", "docker", "postgres", "queue", "recipient", "systemd", "toolchain"];
const PROGRAMS: [&str; 3] = ["etl-worker", "etl-admin", "fetch-etl-local-sqs"];

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
            Some(("needs", needs)) => needs.split(',').all(|need| NEEDS.contains(&need)),
            Some(("run-by", who)) => who == "ci",
            Some(_) => false,
        };
        assert!(is_known, "{page}:{line}: `{mark}`; known is needs= of {NEEDS:?}");
    }
}

#[test]
fn blocks_that_need_nothing_do_what_they_are_there_for() {
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for block in shell_blocks().into_iter().filter(|block| block.mark.is_empty()) {
        pages.entry(block.page).or_default().push_str(&block.text);
    }
    assert!(!pages.is_empty());
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
    for (page, script) in pages {
        let directory = tempfile::tempdir().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .env("PATH", format!("{}:{path}", programs.path().display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{page}: {script}\n{}", String::from_utf8_lossy(&said));
    }
}
