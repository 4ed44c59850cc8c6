//! Child processes, above all cargo's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fmt};

use crate::Result;

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir)
}

/// A command that runs in the workspace's root, without what `cargo run` added to the environment for xtask itself:
/// build scripts that watch `CARGO_MANIFEST_DIR` and its like would otherwise rebuild on every change of caller.
pub(crate) fn command(program: impl Into<OsString>) -> Command {
    let mut command = Command::new(program.into());
    command.current_dir(root());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_this_package)) {
        command.env_remove(name);
    }
    command
}

fn is_of_this_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
}

/// Cargo, so that SQL is checked against the committed `.sqlx` only: nobody's DATABASE_URL, and no other database that
/// happens to be configured, must have a say in what compiles.
pub(crate) fn cargo() -> Command {
    let mut command = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in [
        "DATABASE_URL",
        "FETCH_ETL_POSTGRES_DATABASE_URL",
        "FETCH_ETL_SQLITE_DATABASE_URL",
        "SQLX_OFFLINE_DIR",
    ] {
        command.env_remove(name);
    }
    command.env("SQLX_OFFLINE", "true");
    command
}

/// A command ran and did not succeed; its exit code becomes ours.
#[derive(Debug)]
pub(crate) struct Failed {
    command: String,
    status: ExitStatus,
    reason: Option<String>,
}

impl Failed {
    /// The exit code, unless a signal ended it.
    pub(crate) fn code(&self) -> Option<u8> {
        self.status.code().and_then(|code| u8::try_from(code).ok())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: ", self.command)?;
        match &self.reason {
            Some(reason) => f.write_str(reason),
            None => self.status.fmt(f),
        }
    }
}

impl std::error::Error for Failed {}

/// Runs to the end with the terminal's input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    finish(command).map(drop)
}

/// Runs to the end and returns what it printed to stdout; stderr goes to the terminal.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    finish(command)
}

/// Runs to the end in silence and returns what it printed to stdout; stderr's last line becomes the reason of a failure.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(command)
}

fn finish(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command.output().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
    Err(Failed { command: shown, status: output.status, reason }.into())
}

/// The command as one would type it, with the program's name instead of its path.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut shown = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}

/// Whether a program of that name is on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    directories_on_path().iter().any(|dir| dir.join(program).is_file())
}

/// The directories of PATH, in order.
pub(crate) fn directories_on_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// Something that cargo built and that can be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What `cargo build --message-format=json` says it made.
pub(crate) fn executables(messages: &str) -> Vec<Executable> {
    messages.lines().filter_map(|line| executable(&serde_json::from_str(line).ok()?)).collect()
}

fn executable(message: &serde_json::Value) -> Option<Executable> {
    let target = message.get("target")?;
    Some(Executable {
        path: message.get("executable")?.as_str()?.into(),
        kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
        name: target.get("name")?.as_str()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"core"},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["example"],"name":"embed"},"executable":"/t/embed"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\nnot json\n",
        );
        let embed = Executable { kind: "example".into(), name: "embed".into(), path: "/t/embed".into() };
        assert_eq!(executables(messages), [embed]);
    }

    #[test]
    fn a_failure_names_the_command_and_quotes_the_last_line() {
        let error =
            quiet(Command::new("sh").args(["-c", "echo first >&2; echo last >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`sh -c ") && text.ends_with("failed: last"), "{text}");
        assert_eq!(error.downcast_ref::<Failed>().unwrap().code(), Some(3));
    }

    #[test]
    fn the_root_is_the_workspaces() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
