//! Every command of ours that stands in README.md or docs/ is one that our programs take. (Here, because this is the one place that
//! knows the command lines of both.)

use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;
use fetch_etl_testing::pages::{self, Block};

use crate::cli::Cli;

const PROGRAMS: [&str; 2] = ["etl-worker", "etl-admin"];
/// What runs the rest of its own line.
const RUNNERS: [&str; 4] = ["sudo", "time", "nice", "exec"];
/// Where a shell's next command begins.
const SEPARATORS: [&str; 6] = ["|", "||", "&&", ";", "&", "("];

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The command lines of our programs in a line of a shell, each beginning with the program's name: typed as they are, by way of cargo,
/// or handed to something that runs them elsewhere (`docker run … etl-worker …`, `kubectl exec … -- etl-worker …`).
fn ours(line: &str) -> Vec<Vec<String>> {
    // The shell's own signs stand by themselves, for the splitter takes them for letters.
    let spaced = line.replace("$(", " ( ").replace([';', ')'], " ; ");
    let words = shlex::split(&spaced).unwrap_or_else(|| panic!("no command of a shell: {line}"));
    let mut found = Vec::new();
    for command in words.split(|word| SEPARATORS.contains(&word.as_str())) {
        let end = command.iter().position(|word| word.contains('>')).unwrap_or(command.len());
        let command = &command[..end];
        if let Some(arguments) = of_cargo(command) {
            found.extend(arguments);
        } else if let Some(at) = command.iter().position(|word| is_program(word))
            && is_run_by(&command[..at])
        {
            found.push(command[at..].to_vec());
        }
    }
    found.iter_mut().for_each(|command| {
        let name = PROGRAMS.into_iter().find(|name| command[0].ends_with(name));
        command[0] = name.unwrap_or_default().to_owned();
    });
    found
}

/// `etl-worker`, `/usr/local/bin/etl-worker`, `fetch-etl/etl-worker`; not `deployment/etl-worker`, which is something in a cluster.
fn is_program(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    PROGRAMS.contains(&name) && !word.starts_with("deployment/") && !word.contains('=')
}

/// Whether what stands before a program runs it: assignments, `sudo`, `docker … run`, `kubectl exec`. Others mean a service or a file of
/// that name.
fn is_run_by(before: &[String]) -> bool {
    let mut words =
        before.iter().map(String::as_str).skip_while(|word| word.contains('=') || RUNNERS.contains(word));
    match words.next() {
        None => true,
        Some("docker" | "kubectl") => words.any(|word| ["run", "exec"].contains(&word)),
        Some(_) => false,
    }
}

/// `cargo run … -p etl-worker -- ARGUMENTS`; nothing inside where it runs another program, and `None` where it is not cargo.
fn of_cargo(command: &[String]) -> Option<Option<Vec<String>>> {
    let run = command.iter().position(|word| word == "cargo")?;
    let rest = &command[run + 1..];
    let package = rest.iter().position(|word| word == "-p").and_then(|at| rest.get(at + 1));
    let package = package.filter(|package| rest[0] == "run" && is_program(package));
    let arguments = rest.iter().position(|word| word == "--").map_or(&[][..], |at| &rest[at + 1..]);
    Some(package.map(|package| [std::slice::from_ref(package), arguments].concat()))
}

fn parse(command: &[String]) -> Result<(), String> {
    let outcome = match command[0].as_str() {
        "etl-worker" => etl_worker::cli::Cli::try_parse_from(command).map(drop),
        _ => Cli::try_parse_from(command).map(drop),
    };
    match outcome {
        // What another command is to print is not known here.
        Err(error)
            if error.kind() == ErrorKind::ValueValidation
                && command.iter().any(|word| word.contains(['$', '('])) =>
        {
            Ok(())
        }
        Err(error) if error.use_stderr() => Err(error.to_string()),
        // Help and the version are answers, too.
        _ => Ok(()),
    }
}

fn has_commands(block: &Block) -> bool {
    ["sh", "console"].contains(&block.language.as_str())
}

#[test]
fn every_command_of_the_pages_is_one_that_the_program_takes() {
    let mut checked = 0;
    let mut faults = Vec::new();
    for block in pages::blocks(repository()).iter().filter(|block| has_commands(block)) {
        for line in block.commands() {
            for command in ours(&line) {
                checked += 1;
                if let Err(error) = parse(&command) {
                    faults.push(format!("{}:{}: {line}\n{error}", block.page, block.line));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked > 30, "{checked}");
}

#[test]
fn commands_are_found_however_they_are_called() {
    let found = |line: &str| ours(line).iter().map(|command| command.join(" ")).collect::<Vec<_>>();
    for (line, expected) in [
        (
            "etl-worker check --config etl.toml   # a comment; etl-worker x",
            &["etl-worker check --config etl.toml"][..],
        ),
        ("A=1 B='2 3' cargo run --release -p etl-worker -- demo", &["etl-worker demo"]),
        ("cargo run -p fetch-etl-local-sqs -- --port 1", &[]),
        ("cargo build --release -p etl-worker", &[]),
        ("docker run --rm fetch-etl/etl-worker demo", &["etl-worker demo"]),
        ("kubectl exec deployment/fetch-etl -- /usr/local/bin/etl-worker health", &["etl-worker health"]),
        ("docker compose exec -T worker etl-worker health", &["etl-worker health"]),
        ("docker build --tag fetch-etl/etl-worker .", &[]),
        ("sudo etl-worker migrate", &["etl-worker migrate"]),
        ("sudo systemctl restart etl-worker", &[]),
        ("install -m 755 target/dist/etl-worker /usr/local/bin/", &[]),
        ("etl-admin keygen > x && etl-worker migrate | cat", &["etl-admin keygen", "etl-worker migrate"]),
        ("X=\"$(etl-admin audit verify)\"", &[]),
    ] {
        assert_eq!(found(line), expected, "{line}");
    }
    assert!(parse(&["etl-worker".to_owned(), "run".to_owned(), "--fast".to_owned()]).is_err());
    assert!(parse(&["etl-admin".to_owned(), "--help".to_owned()]).is_ok());
}
