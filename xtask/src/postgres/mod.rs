//! A Postgres for tests: found, or provided for as long as it is needed.

use std::any::Any;

use clap::ValueEnum;
use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability};

use crate::{Result, say};

mod container;
mod find;
mod install;
mod probe;
mod url;

/// Where the Postgres comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The first of the following that works.
    Auto,
    /// The server named by DATABASE_URL.
    Url,
    /// A server on 127.0.0.1:5432 that lets user `postgres` in without a password.
    Local,
    /// A throw-away cluster, run with the server binaries on this machine.
    Binaries,
    /// A throw-away container.
    Container,
    /// Debian or Ubuntu, as root: install the package `postgresql`, then run a throw-away cluster.
    Install,
}

/// A Postgres that answers; what was started for it is stopped and removed when this is dropped.
pub(crate) struct Postgres {
    /// A database on which others may be created.
    pub(crate) url: String,
    /// It was there before and stays: what is left on it has to be removed one by one.
    pub(crate) outlives_us: bool,
    /// What removes it when this is dropped.
    _remover: Option<Box<dyn Any>>,
}

impl Postgres {
    fn found(url: String) -> Self {
        Self { url, outlives_us: true, _remover: None }
    }

    fn started(url: String, remover: impl Any) -> Self {
        Self { url, outlives_us: false, _remover: Some(Box::new(remover)) }
    }
}

/// One way to come by a Postgres.
trait Provider {
    /// How it is called in the lines for the user.
    fn name(&self) -> &'static str;
    /// A Postgres and what there is to say about it, or why there is none.
    fn provide(&self) -> Result<(Postgres, String)>;
}

/// A throw-away cluster, run with the server binaries on this machine.
struct ThrowAway;

impl Provider for ThrowAway {
    fn name(&self) -> &'static str {
        "server binaries"
    }

    fn provide(&self) -> Result<(Postgres, String)> {
        let binaries = server_binaries()?;
        let cluster = Cluster::start(&binaries, Durability::Forgetful)?;
        let as_whom = cluster.runs_as().map(|user| format!(", as user {user}")).unwrap_or_default();
        let (port, place) = (cluster.port(), binaries.directory().display());
        let what = format!("started a throw-away cluster on port {port} with {place}{as_whom}");
        Ok((Postgres::started(cluster.url(), cluster), what))
    }
}

fn server_binaries() -> Result<Binaries> {
    Binaries::find().ok_or_else(|| "initdb, pg_ctl and postgres are not on this machine".into())
}

/// Makes sure that there are server binaries, from the distribution's package where that is possible: some tests stop and restart
/// a server of their own.
pub(crate) fn need_server_binaries() -> Result<()> {
    let missing = match server_binaries() {
        Ok(_) => return Ok(()),
        Err(missing) => missing,
    };
    install::package().map_err(|reason| {
        format!(
            "{missing}, and {}: {reason}\ninstall a Postgres server (Debian: apt-get install postgresql, macOS: \
             brew install postgresql)",
            install::Install.name()
        )
    })?;
    server_binaries().map(drop)
}

/// A Postgres by the way that was chosen; says in one line each what was tried, found or started.
pub(crate) fn provide(choice: Choice) -> Result<Postgres> {
    let all: [(Choice, &dyn Provider); 5] = [
        (Choice::Url, &find::FromUrl),
        (Choice::Local, &find::Local),
        (Choice::Binaries, &ThrowAway),
        (Choice::Container, &container::Container),
        (Choice::Install, &install::Install),
    ];
    let chosen = all.into_iter().filter(|(kind, _)| matches!(choice, Choice::Auto) || *kind == choice);
    first_that_works(chosen.map(|(_, provider)| provider), |line| say("postgres", line))
}

fn first_that_works<'a>(
    providers: impl Iterator<Item = &'a dyn Provider>,
    mut say: impl FnMut(String),
) -> Result<Postgres> {
    let mut reasons = String::new();
    for provider in providers {
        match provider.provide() {
            Ok((postgres, what)) => {
                say(format!("{}: {what}", provider.name()));
                return Ok(postgres);
            }
            Err(reason) => {
                let line = format!("{}: {reason}", provider.name());
                reasons.push_str(&format!("\n  {line}"));
                say(line);
            }
        }
    }
    Err(format!(
        "no Postgres for the tests:{reasons}\ninstall one (Debian: apt-get install postgresql, macOS: brew install \
         postgresql), start Docker, or set DATABASE_URL to a server on which databases may be created"
    )
    .into())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    struct Fake {
        name: &'static str,
        works: bool,
        asked: Cell<bool>,
    }

    impl Fake {
        fn new(name: &'static str, works: bool) -> Self {
            Self { name, works, asked: Cell::new(false) }
        }
    }

    impl Provider for Fake {
        fn name(&self) -> &'static str {
            self.name
        }

        fn provide(&self) -> Result<(Postgres, String)> {
            self.asked.set(true);
            if self.works {
                Ok((Postgres::found(format!("postgres://{}", self.name)), "answers".into()))
            } else {
                Err("is not there".into())
            }
        }
    }

    fn ask(fakes: &[Fake]) -> (Result<Postgres>, Vec<String>) {
        let mut lines = Vec::new();
        let found = first_that_works(fakes.iter().map(|fake| fake as &dyn Provider), |line| lines.push(line));
        (found, lines)
    }

    #[test]
    fn the_first_that_works_is_taken_and_the_rest_is_not_asked() {
        let fakes = [Fake::new("one", false), Fake::new("two", true), Fake::new("three", true)];
        let (found, lines) = ask(&fakes);
        assert_eq!(found.unwrap().url, "postgres://two");
        assert_eq!(lines, ["one: is not there", "two: answers"]);
        assert!(!fakes[2].asked.get());
    }

    #[test]
    fn when_none_works_every_reason_is_named() {
        let (found, _) = ask(&[Fake::new("one", false), Fake::new("two", false)]);
        let error = found.err().unwrap().to_string();
        assert!(error.contains("one: is not there") && error.contains("two: is not there"), "{error}");
    }
}
