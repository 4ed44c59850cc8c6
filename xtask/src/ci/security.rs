//! docs/SECURITY.md must name tests that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{Result, cargo};

/// Where tests are.
const PLACES: [&str; 4] = ["bins", "crates", "fuzz", "xtask"];

/// Each test that a table of the page names exists, and each file.
pub(super) fn names_tests_that_are_there() -> Result<()> {
    let page = read(&cargo::root().join("docs/SECURITY.md"))?;
    let mut sources = Vec::new();
    for place in PLACES {
        collect(&cargo::root().join(place), &mut sources)?;
    }
    let mut tests = BTreeSet::new();
    for source in &sources {
        tests.extend(tests_of(&read(source)?));
    }
    let files: Vec<_> = sources.iter().map(|source| source.display().to_string()).collect();
    match missing(&page, &tests, &files).as_slice() {
        [] => Ok(()),
        missing => Err(format!("docs/SECURITY.md names what is not there: {}", missing.join(", ")).into()),
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Sources in this directory and below it.
fn collect(directory: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// The functions that an attribute makes a test.
fn tests_of(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let Some((_, after)) = line.split_once("fn ").filter(|_| is_test) else { continue };
        names.extend(after.split_once('(').map(|(name, _)| name.to_owned()));
        is_test = false;
    }
    names
}

/// What the last cells of the page's tables name that is neither a test nor a file. `…` stands for any part of a name.
fn missing(page: &str, tests: &BTreeSet<String>, files: &[String]) -> Vec<String> {
    let cells = page.lines().filter_map(|line| line.strip_suffix('|')?.rsplit('|').next());
    let named = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_there = |name: &str| {
        if name.ends_with(".rs") {
            return files.iter().any(|file| file.ends_with(&format!("/{name}")));
        }
        let is_snake_case = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '…';
        // Commands, and files of other kinds.
        !name.contains('_') || !name.chars().all(is_snake_case) || tests.iter().any(|test| fits(test, name))
    };
    named.filter(|name| !is_there(name)).map(str::to_owned).collect()
}

/// Whether a test has this name, of which parts may be left out.
fn fits(test: &str, name: &str) -> bool {
    let mut parts = name.split('…');
    // A name without `…` is one part.
    let Some(mut rest) = parts.next().and_then(|first| test.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_that_the_page_names_is_there() {
        names_tests_that_are_there().unwrap();
    }

    #[test]
    fn what_is_not_there_is_named() {
        let source = "    #[test]\n    fn one_that_is_there() {}\nfn no_test_at_all() {}\n\
                      #[tokio::test(flavor = \"multi_thread\")]\n#[ignore]\nasync fn another_one_that_waits() {}\n";
        let tests: BTreeSet<_> = tests_of(source).into_iter().collect();
        assert_eq!(
            tests.iter().map(String::as_str).collect::<Vec<_>>(),
            ["another_one_that_waits", "one_that_is_there"]
        );
        let files = ["/x/crates/a/tests/roles.rs".to_owned()];
        let page = "`not_in_a_table`\n| `not_in_the_last_cell` | `one_that_is_there`, `one_that…`, `…_that_…`, `a…that_waits` |\n\
                    | x | `no_test_at_all` and `two_that…`, `one_that_is`, `…_there_…x` |\n\
                    | x | `tests/roles.rs`, `tests/other.rs`, `etl-worker leak-test`, `fixtures/vectors_1.json` |\n";
        let expected = ["no_test_at_all", "two_that…", "one_that_is", "…_there_…x", "tests/other.rs"];
        assert_eq!(missing(page, &tests, &files), expected);
    }
}
