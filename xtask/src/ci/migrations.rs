//! A migration that is merged has run somewhere: sqlx refuses to go on where its checksum has changed.

use std::env;

use crate::{Result, cargo, say};

/// The commit to compare with, for a workflow that knows better than `origin/main`.
const BASE: &str = "CI_BASE";

/// No migration of the base is changed, renamed or deleted in the working tree.
pub(super) fn unchanged() -> Result<()> {
    let upstream =
        env::var(BASE).ok().filter(|base| !base.is_empty()).unwrap_or_else(|| "origin/main".into());
    let Ok(base) = git(&["merge-base", "HEAD", &upstream]) else {
        say("ci", format!("skipped: there is no {upstream} to compare with"));
        return Ok(());
    };
    let diff = git(&["diff", "--name-status", "--no-renames", &base, "--", "migrations"])?;
    match touched(&diff).as_slice() {
        [] => Ok(()),
        files => {
            Err(format!("changed since {base}: {}; write a new migration instead", files.join(", ")).into())
        }
    }
}

fn git(args: &[&str]) -> Result<String> {
    Ok(cargo::quiet(cargo::command("git").args(args))?.trim().to_owned())
}

/// Everything but an addition, in the output of `git diff --name-status`.
fn touched(diff: &str) -> Vec<&str> {
    diff.lines()
        .filter_map(|line| line.split_once('\t'))
        .filter(|(status, _)| *status != "A")
        .map(|(_, file)| file)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_additions_are_allowed() {
        let diff = "A\tmigrations/postgres/3.sql\nM\tmigrations/postgres/1.sql\nD\tmigrations/sqlite/2.sql";
        assert_eq!(touched(diff), ["migrations/postgres/1.sql", "migrations/sqlite/2.sql"]);
        assert!(touched("").is_empty());
    }
}
