//! The README must promise what is checked.

use std::fs;

use crate::{Result, cargo};

/// Each command stands in the README, on a line of its own.
pub(super) fn promises(commands: &[&str]) -> Result<()> {
    let path = cargo::root().join("README.md");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    match missing(&text, commands).as_slice() {
        [] => Ok(()),
        missing => Err(format!("README.md does not have the line `{}`", missing.join("`, `")).into()),
    }
}

fn missing<'a>(text: &str, commands: &[&'a str]) -> Vec<&'a str> {
    let has =
        |command: &str| text.lines().any(|line| line.split(" #").next().unwrap_or(line).trim() == command);
    commands.iter().copied().filter(|command| !has(command)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_stands_on_a_line_of_its_own_with_or_without_a_comment() {
        let text =
            "Run:\n```sh\ncargo run -- demo\n  cargo xtask test   # all of it\n```\nor `cargo xtask ci`.\n";
        let commands = ["cargo run -- demo", "cargo xtask test", "cargo xtask ci", "cargo run"];
        assert_eq!(missing(text, &commands), ["cargo xtask ci", "cargo run"]);
    }
}
