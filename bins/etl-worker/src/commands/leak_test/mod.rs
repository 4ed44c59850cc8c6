//! `etl-worker leak-test`: made-up logins through real workers, and a search for their values wherever none may be.
//!
//! The workers are this very program, started as processes, with all that could make them talk: TRACE, a queue that misbehaves, a
//! masker that panics with a value in its message, a database that quotes the rows that it refuses.

pub(super) mod misdeeds;
mod places;
mod postgres;
mod scenarios;
mod scraping;
mod shown;
mod store;
mod workers;

use std::time::Duration;

use fetch_etl_canary::{Campaign, Place, Scanner};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::cli::LeakTestArgs;
use crate::failure::{ExitCode, Failure};
use crate::report::{self, grouped};
use crate::{signals, telemetry};
use places::{Look, Search};
use postgres::Server;
use store::{Part, Store};
use workers::{Queues, Ran};

const KEYED: &str = "keyed";
const PLAIN: &str = "plain";
const PANICKING: &str = "panicking";
const REFUSED: &str = "refused";
const PLANTED: &str = "planted";

const ANSWERS: &str = "metrics, /live and /ready";

pub(super) async fn run(args: LeakTestArgs) -> Result<ExitCode, Failure> {
    let stop = signals::cancel_on_signal()
        .map_err(|error| Failure::failed(format!("cannot listen for signals: {}", error.kind())))?;
    let store = Store::create(args.database_url.as_deref()).await?;
    // Whatever happens in between, the databases go, or are named.
    let outcome = Box::pin(test(&args, &store, &stop)).await;
    let kept = store.end(args.keep).await;
    if let Ok(search) = &outcome {
        report::print(&shown::results(search));
    }
    for line in kept.as_deref().unwrap_or_default() {
        report::print(&format!("{line}\n"));
    }
    let search = outcome?;
    kept?;
    verdict(&search)
}

fn verdict(search: &Search) -> Result<ExitCode, Failure> {
    if let Some(blind) = search.looked.iter().find(|looked| !looked.is_proven()) {
        return Err(Failure::failed(format!(
            "the scan of {} does not find all that is planted there, so it proves nothing",
            blind.place.name()
        )));
    }
    if search.total() > 0 {
        return Err(Failure::failed(format!(
            "{} of the made-up values are where none may be",
            grouped(search.total())
        )));
    }
    report::print("nothing found\n");
    Ok(ExitCode::Done)
}

async fn test(args: &LeakTestArgs, store: &Store, stop: &CancellationToken) -> Result<Search, Failure> {
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let campaign = Campaign::new(seed, args.messages);
    let scanner = campaign.scanner();
    report::print(&shown::opening(&campaign, &scanner, seed, &store.describe()));
    let queues = Queues::start(&[KEYED, PLAIN, PANICKING, REFUSED, PLANTED]).await?;
    let mut test = Test {
        args,
        store,
        stop,
        campaign: &campaign,
        scanner: &scanner,
        queues: &queues,
        answers: Look::new(&scanner, Place::nowhere(ANSWERS)),
        search: Search::default(),
    };
    let outcome = Box::pin(test.run(seed)).await;
    let Test { mut search, answers, .. } = test;
    search.add(answers);
    queues.shutdown().await;
    outcome?;
    if search.looked.iter().any(|looked| looked.place.name() == ANSWERS && looked.findings.bytes == 0) {
        return Err(Failure::failed(
            "no worker answered over HTTP, so what they tell there was not looked at",
        ));
    }
    Ok(search)
}

struct Test<'t> {
    args: &'t LeakTestArgs,
    store: &'t Store,
    stop: &'t CancellationToken,
    campaign: &'t Campaign,
    scanner: &'t Scanner,
    queues: &'t Queues,
    /// What the workers answered over HTTP.
    answers: Look<'t>,
    search: Search,
}

impl Test<'_> {
    async fn run(&mut self, seed: u64) -> Result<(), Failure> {
        let masking = scenarios::keyed_and_sealed(matches!(self.store, Store::Postgres { .. }))?;
        let mut activity = Look::new(self.scanner, Place::nowhere("sessions of the database"));
        self.keyed(&masking, seed, &mut activity).await?;
        self.plain(&mut activity).await?;
        self.panicking(&masking, &mut activity).await?;
        self.refused(&masking, &mut activity).await?;
        if let Some(place) = self.args.plant {
            self.plant(place, &masking, &mut activity).await?;
        }
        let step = Step::begin("looking through the database");
        match self.store {
            Store::Sqlite { directory } => {
                let place = Place::with_rows("SQLite files");
                let root = directory.path();
                self.search.files(self.scanner, place, root, &[root.to_owned()]);
            }
            Store::Postgres { server } => {
                self.search.add(activity);
                self.look_through(server).await?;
            }
        }
        drop(step);
        self.rows_were_seen()
    }

    fn look_at(&mut self, ran: &Ran) {
        let Ran { name, stdout, stderr, answers, .. } = ran;
        self.answers.feed(answers);
        self.search.bytes(self.scanner, Place::nowhere(format!("stdout of the {name}")), stdout);
        self.search.bytes(self.scanner, Place::nowhere(format!("stderr of the {name}")), stderr);
    }

    /// Whether the places that must hold rows do: else they were not the places.
    fn rows_were_seen(&self) -> Result<(), Failure> {
        let rows = self.search.looked.iter().filter(|looked| looked.place.holds_rows());
        match rows.clone().find(|looked| looked.findings.allowed == 0) {
            Some(empty) => Err(Failure::failed(format!(
                "{}: none of the rows is there, so it was not the place to look",
                empty.place.name()
            ))),
            None if rows.count() == 0 => Err(Failure::failed("no place with rows was looked at")),
            None => Ok(()),
        }
    }

    /// Tables, statistics, files and the log of a Postgres.
    async fn look_through(&mut self, server: &Server) -> Result<(), Failure> {
        let mut rows = Look::new(self.scanner, Place::with_rows("table user_logins"));
        let mut others = Look::new(self.scanner, Place::nowhere("tables of the schema etl"));
        for part in Part::ALL {
            let unreadable = |error| Failure::failed(format!("the tables cannot be read: {error}"));
            let sink =
                PostgresSink::connect(PostgresSinkConfig::new(server.url(part))).await.map_err(unreadable)?;
            let read = sink.read_as_text(|table, piece| {
                if table.ends_with("user_logins") { rows.feed(piece) } else { others.feed(piece) }
            });
            let read = read.await;
            sink.close().await;
            read.map_err(unreadable)?;
        }
        self.search.add(rows);
        self.search.add(others);
        match server.statements().await {
            Ok(statements) => self.search.bytes(
                self.scanner,
                Place::nowhere("pg_stat_statements"),
                statements.join("\n").as_bytes(),
            ),
            Err(because) => self.search.not_looked("pg_stat_statements", &because),
        }
        match server.files().await {
            Ok(files) => self.look_at_files(&files),
            Err(because) => {
                self.search.not_looked("the server's data directory and WAL", &because);
                self.search.not_looked("the server's log", &because);
            }
        }
        Ok(())
    }

    fn look_at_files(&mut self, files: &postgres::Files) {
        let place = Place::with_rows("data directory and WAL");
        self.search.files(self.scanner, place, &files.data, &files.parts);
        match &files.log {
            Ok(path) => match std::fs::read(path) {
                Ok(log) => self.search.bytes(self.scanner, Place::nowhere("the server's log"), &log),
                Err(error) => self
                    .search
                    .not_looked("the server's log", &format!("it cannot be read ({})", error.kind())),
            },
            Err(because) => self.search.not_looked("the server's log", because),
        }
    }
}

/// What is going on, on a terminal.
struct Step(ProgressBar);

impl Step {
    fn begin(what: &str) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        telemetry::make_room_for(Some(bar.clone()));
        Self(bar)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        telemetry::make_room_for(None);
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use fetch_etl_canary::Expected;
    use fetch_etl_core::login::LoginSchema;
    use fetch_etl_core::{EventSchema as _, Pii};
    use fetch_etl_mask::Sha512Masker;

    use super::*;

    #[test]
    fn the_schema_does_with_every_message_what_its_maker_expects() {
        let campaign = Campaign::new(3, 1_000);
        for message in campaign.parts().into_iter().flat_map(|set| set.messages()) {
            let decoded = LoginSchema.decode_and_mask(Pii::wrap(message.body().as_bytes()), &Sha512Masker);
            let reason = decoded.err().map(|reject| reject.reason.as_str());
            let expected = match message.expected() {
                // The database's word comes later.
                Expected::Row | Expected::Nothing | Expected::Reject("refused_by_sink") => None,
                Expected::Reject(reason) => Some(reason),
            };
            assert_eq!(reason, expected, "{message:?}");
        }
    }
}
