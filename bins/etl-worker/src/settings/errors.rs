//! What can be wrong with a configuration, in lines that say where and what was expected.

use std::fmt::{self, Write};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file, and the line.
    File {
        /// The file's path as it was given.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Env(String),
    /// `--set KEY=VALUE` on the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file} line {line}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("--set on the command line"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path, or the file where there is no key yet.
    pub subject: String,
    /// What is wrong and what was expected; never a secret's value.
    pub text: String,
    /// Where the value was set, where it was.
    pub origin: Option<Origin>,
}

impl Problem {
    pub(crate) fn new(subject: impl Into<String>, text: impl Into<String>, origin: Option<Origin>) -> Self {
        Self { subject: subject.into(), text: text.into(), origin }
    }
}

impl fmt::Display for Problem {
    /// One line, and nothing that a terminal would obey: names and paths come from outside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{}: {}", self.subject, self.text);
        if let Some(origin) = &self.origin {
            line.push_str(&format!(" [{origin}]"));
        }
        line.chars().try_for_each(|char| match char.is_control() {
            true => write!(f, "{}", char.escape_debug()),
            false => f.write_char(char),
        })
    }
}

/// Everything that is wrong with a configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.problems.as_slice() {
            return problem.fmt(f);
        }
        write!(f, "the configuration has {} problems", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for SettingsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_plain_line_whatever_it_names() {
        let origin = Some(Origin::Env("ETL_A\nB".to_owned()));
        let problem = Problem::new("a\nb\u{1b}[2J", "unknown \u{85}\"é\"", origin);
        let line = r#"a\nb\u{1b}[2J: unknown \u{85}"é" [environment variable ETL_A\nB]"#;
        assert_eq!(problem.to_string(), line);
    }
}
