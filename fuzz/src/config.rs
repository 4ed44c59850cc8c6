//! Any bytes as the worker's configuration: a TOML file, environment variables, `--set` arguments.
//!
//! - Reading them does not panic, and what is wrong is said in plain lines, one for each problem.
//! - A secret is not printed, in no error and in nothing that `check` shows: a canary is planted where secrets stand, in
//!   order and in disorder, in the environment, in the file and on the command line.
//!
//! The input's parts end with a NUL: file, environment (a variable a line), arguments (one a line), and what stands before and
//! after the canary.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use etl_worker::settings::{Inputs, Loaded, SettingsError, hide_password, show};

use crate::seeds::Seed;

/// Nothing that is escaped anywhere.
const CANARY: &str = "canary7Qx4Zp9";

thread_local! {
    // A file without a name, so that none is left behind by a process that libFuzzer ends; one for each thread, because tests
    // run side by side.
    static FILE: File = tempfile::tempfile().expect("a file");
}

/// Where the configuration file is to be read, with this in it.
fn file_with(content: &[u8]) -> PathBuf {
    FILE.with(|mut file| {
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(content)).expect("a file");
        // Elsewhere than on Linux it is opened at the place where this handle is.
        file.rewind().expect("a file");
        format!("/dev/fd/{}", file.as_raw_fd()).into()
    })
}

struct Parts<'d> {
    file: &'d [u8],
    env: Vec<(OsString, OsString)>,
    flags: Vec<String>,
    secret: String,
}

impl<'d> Parts<'d> {
    fn of(data: &'d [u8]) -> Self {
        let mut parts = data.split(|byte| *byte == 0);
        let mut next = || parts.next().unwrap_or_default();
        let (file, env, flags, before, after) = (next(), next(), next(), next(), next());
        let variable = |line: &[u8]| {
            let end = line.iter().position(|byte| *byte == b'=')?;
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            Some((text(&line[..end]), text(&line[end + 1..])))
        };
        let text = String::from_utf8_lossy;
        Self {
            file,
            env: env.split(|byte| *byte == b'\n').filter_map(variable).collect(),
            flags: text(flags).lines().map(str::to_owned).collect(),
            secret: format!("{}{CANARY}{}", text(before), text(after)),
        }
    }

    fn read(&self, file: Vec<u8>, env: &[(&str, &str)], flags: &[String]) -> Outcome {
        let planted = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let inputs = Inputs {
            file: Some(file_with(&file)),
            env: self.env.iter().cloned().chain(planted).collect(),
            flags: self.flags.iter().chain(flags).cloned().collect(),
        };
        Outcome::of(&inputs)
    }
}

/// What a user gets to see of a configuration.
#[derive(Default)]
struct Outcome {
    errors: String,
    shown: String,
}

impl Outcome {
    fn of(inputs: &Inputs) -> Self {
        let mut outcome = Self::default();
        match Loaded::read(inputs) {
            Err(error) => outcome.add(&error),
            Ok(loaded) => {
                outcome.shown = format!("{}\n{loaded:?}\n", show(&loaded));
                match loaded.settings() {
                    Err(error) => outcome.add(&error),
                    Ok(settings) => outcome.shown.push_str(&format!("{settings:?}")),
                }
                match loaded.sink() {
                    Err(error) => outcome.add(&error),
                    Ok(sink) => outcome.shown.push_str(&format!("{sink:?} {}", sink.database)),
                }
            }
        }
        outcome
    }

    fn add(&mut self, error: &SettingsError) {
        assert!(!error.problems.is_empty(), "an error without a problem");
        for problem in &error.problems {
            let line = problem.to_string();
            assert!(!line.contains(char::is_control), "no plain line: {line:?}");
        }
        self.errors.push_str(&format!("{error}\n{error:?}\n"));
    }

    fn hides(&self, what: &str) {
        self.says_nothing_wrong_of(what);
        assert!(!self.shown.contains(CANARY), "{what} is shown: {}", self.shown);
    }

    fn says_nothing_wrong_of(&self, what: &str) {
        assert!(!self.errors.contains(CANARY), "{what} is in an error: {}", self.errors);
    }
}

/// Checks one input.
pub fn check(data: &[u8]) {
    // libFuzzer learns what is compared, so it may well plant the canary where it is no secret.
    if data.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()) {
        return;
    }
    let parts = Parts::of(data);
    let secret = parts.secret.as_str();
    parts.read(parts.file.to_vec(), &[], &[]).hides("nothing planted");

    let env = [("ETL_MASKING__KEY", secret), ("ETL_MASKING_KEY", secret), ("ETL_SINK__PASSWORD", secret)];
    let flag = format!("masking.key={secret}");
    parts.read(parts.file.to_vec(), &env, &[flag]).hides("a key in the environment");

    // In order, at the top of the file: what follows cannot make anything else of it.
    let head = format!("[masking]\nkey = {}\n", toml_text(secret));
    parts.read([head.as_bytes(), parts.file].concat(), &[], &[]).hides("a key in the file");

    // In disorder: whatever stands in a secret's line, nothing of that line is shown.
    let line = secret.replace('\n', " ");
    let head = format!("[masking]\nkey = {line}\n");
    parts.read([head.as_bytes(), parts.file].concat(), &[], &[]).hides("a key in a malformed line");
    let head = format!("[sink]\ndatabase_url = {line}\n");
    let outcome = parts.read([head.as_bytes(), parts.file].concat(), &[], &[]);
    outcome.says_nothing_wrong_of("an address in a malformed line");

    let env = [("ETL_SINK__DATABASE_URL", secret), ("DATABASE_URL", secret)];
    parts.read(parts.file.to_vec(), &env, &[]).says_nothing_wrong_of("a database's address");
    check_passwords(&parts);
}

/// A password in an address is hidden where the address is shown.
fn check_passwords(parts: &Parts<'_>) {
    let secret = &parts.secret;
    let parameter = secret.replace('&', "");
    for url in [
        format!("postgres://etl:{secret}@db:5432/logins?sslmode=require"),
        format!("postgres://db/logins?user=etl&password={parameter}&sslmode=require"),
        format!("postgres://etl@db/logins?password={parameter}"),
    ] {
        let shown = hide_password(&url);
        assert!(!shown.contains(CANARY), "{url:?} is shown as {shown:?}");
    }
    let url = format!("postgres://etl:{secret}@db/logins");
    let outcome = parts.read(Vec::new(), &[("ETL_SINK__DATABASE_URL", &url)], &[]);
    outcome.hides("a password in an address");
}

/// A text as a TOML string, with everything escaped.
fn toml_text(text: &str) -> String {
    let units: String = text.chars().map(|char| format!("\\U{:08X}", u32::from(char))).collect();
    format!("\"{units}\"")
}

/// The example configuration, and inputs that are wrong in one way each.
pub(crate) fn seeds() -> Vec<Seed> {
    let example = include_str!("../../config/etl.example.toml");
    let plain = "[source]\nqueue_name = \"logins\"\n";
    [
        (example, "", "", "", ""),
        (plain, "ETL_SINK__DATABASE_URL=sqlite://logins.sqlite", "pipeline.writers=4", "", ""),
        (plain, "ETL_PIPELINE__WRITERS=many\nETL_NO__SUCH=1", "no.such=1\nnothing", "", ""),
        ("[source]\nwait_time_s = 25\n[pipeline]\nwriter = 2\n", "", "", "\"", "\""),
        ("[masking]\nmethod = \"md5\"\n", "ETL_MASKING__DOMAIN=a/b", "", "'", ""),
        ("[masking]\nkey_file = \"/no/such/key\"\n", "", "", "{ x = \"", "\" }"),
        ("[sink.migrate]\nnow = true\n", "", "", "[", "]"),
        ("source = 3\n[ledger]\nretention_days = 35\n", "", "", "\"\"\"", "\"\"\""),
        (
            "[source]\nkind = \"kafka\"\nqueue_url = \"http://u:p@h/1/q\"\n",
            "",
            "",
            "postgres://etl:",
            "@db/logins",
        ),
        ("[sink]\nmax_connections = 0x10\n", "", "", "postgres://db/logins?password=", "&a=b"),
        ("\"a\\nb\" = 1\n", "", "", "1.5", ""),
    ]
    .map(|(file, env, flags, before, after)| Seed {
        target: "config",
        data: [file, env, flags, before, after].join("\0").into_bytes(),
    })
    .into()
}
