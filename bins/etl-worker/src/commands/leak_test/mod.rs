//! `etl-worker leak-test`: made-up logins through real workers, and a search for their values wherever none may be.
//!
//! The workers are this very program, started as processes, with all that could make them talk: TRACE, a queue that misbehaves, a
//! masker that panics with a value in its message, a database that quotes the rows that it refuses.

pub(super) mod misdeeds;
mod places;
mod postgres;
mod shown;
mod store;
mod workers;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_canary::{Campaign, Place, Scanner};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_seal::KeyPair;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::cli::{LeakTestArgs, PlantPlace};
use crate::failure::{ExitCode, Failure};
use crate::report::{self, grouped};
use crate::{signals, telemetry};
use places::{Look, Search};
use postgres::Server;
use store::{Counts, Part, Store};
use workers::{Job, Queues, Ran};

const KEYED: &str = "keyed";
const PLAIN: &str = "plain";
const PANICKING: &str = "panicking";
const REFUSED: &str = "refused";
const PLANTED: &str = "planted";

/// How often the sessions of the database are looked at while a worker runs.
const LOOK_EACH: Duration = Duration::from_millis(100);

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
        search: Search::default(),
    };
    let outcome = Box::pin(test.run(seed)).await;
    let search = test.search;
    queues.shutdown().await;
    outcome.map(|()| search)
}

struct Test<'t> {
    args: &'t LeakTestArgs,
    store: &'t Store,
    stop: &'t CancellationToken,
    campaign: &'t Campaign,
    scanner: &'t Scanner,
    queues: &'t Queues,
    search: Search,
}

impl Test<'_> {
    async fn run(&mut self, seed: u64) -> Result<(), Failure> {
        let masking = keyed_and_sealed()?;
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

    /// Good and bad messages, everything goes wrong that may, what is rejected is sealed.
    async fn keyed(
        &mut self,
        masking: &[(&'static str, String)],
        seed: u64,
        activity: &mut Look<'_>,
    ) -> Result<(), Failure> {
        let keyed = &self.campaign.keyed;
        self.queues.fill(KEYED, keyed)?;
        self.queues.misbehave(KEYED, seed)?;
        let ran = self
            .work("worker with a key", &["run", "--until-empty"], KEYED, Part::Keyed, masking, activity)
            .await?;
        must_end_with(&ran, 0)?;
        let counts = self
            .must_hold(&ran, Part::Keyed, Counts { rows: keyed.rows(), rejects: keyed.rejects() })
            .await?;
        let faults = self.queues.faults(KEYED);
        if faults == 0 {
            return Err(Failure::failed(format!(
                "{}: the queue did nothing wrong, as it was told to",
                ran.name
            )));
        }
        self.tell(
            &ran,
            &format!(
                "{} rows, {} rejects sealed, {} faults of the queue",
                grouped(counts.rows),
                grouped(counts.rejects),
                grouped(faults)
            ),
        );
        self.look_at(&ran);
        Ok(())
    }

    /// Without a key, and with nobody to seal rejects to: they stay in the queue.
    async fn plain(&mut self, activity: &mut Look<'_>) -> Result<(), Failure> {
        let plain = &self.campaign.plain;
        self.queues.fill(PLAIN, plain)?;
        let ran = self
            .work("worker without a key", &["run", "--until-empty"], PLAIN, Part::Plain, &[], activity)
            .await?;
        must_end_with(&ran, 0)?;
        let counts = self
            .must_hold(&ran, Part::Plain, Counts { rows: plain.rows(), rejects: plain.rejects() })
            .await?;
        let left = self.queues.left(PLAIN);
        if left != plain.rejects() {
            return Err(Failure::failed(format!(
                "{}: {left} messages are left in the queue, of {}",
                ran.name,
                plain.rejects()
            )));
        }
        self.tell(
            &ran,
            &format!("{} rows, {} rejects left in the queue", grouped(counts.rows), grouped(left)),
        );
        self.look_at(&ran);
        Ok(())
    }

    /// A worker that panics with a value in its message.
    async fn panicking(
        &mut self,
        masking: &[(&'static str, String)],
        activity: &mut Look<'_>,
    ) -> Result<(), Failure> {
        self.queues.fill(PANICKING, &self.campaign.panicking)?;
        let command = ["leak-test-worker", "--masker", "panic"];
        let ran =
            self.work("worker that panics", &command, PANICKING, Part::Keyed, masking, activity).await?;
        must_end_with(&ran, 1)?;
        must_have_said(&ran, "panic")?;
        self.tell(&ran, "panicked with a value in its message");
        self.look_at(&ran);
        Ok(())
    }

    /// A database that refuses rows, and quotes them.
    async fn refused(
        &mut self,
        masking: &[(&'static str, String)],
        activity: &mut Look<'_>,
    ) -> Result<(), Failure> {
        let refused = &self.campaign.refused;
        self.store.refuse_marked().await?;
        let before = self.store.counts(Part::Keyed).await?;
        self.queues.fill(REFUSED, refused)?;
        let ran = self
            .work(
                "worker with refused rows",
                &["run", "--until-empty"],
                REFUSED,
                Part::Keyed,
                masking,
                activity,
            )
            .await?;
        must_end_with(&ran, 0)?;
        must_have_said(&ran, "row_refused")?;
        let expected =
            Counts { rows: before.rows + refused.rows(), rejects: before.rejects + refused.rejects() };
        self.must_hold(&ran, Part::Keyed, expected).await?;
        self.tell(
            &ran,
            &format!(
                "{} rows, {} refused by the database and sealed",
                grouped(refused.rows()),
                grouped(refused.rejects())
            ),
        );
        self.look_at(&ran);
        Ok(())
    }

    /// A leak on purpose.
    async fn plant(
        &mut self,
        place: PlantPlace,
        masking: &[(&'static str, String)],
        activity: &mut Look<'_>,
    ) -> Result<(), Failure> {
        let misdeed = match place {
            PlantPlace::Stdout => "print",
            PlantPlace::Stderr => "log",
            PlantPlace::Database => "store",
        };
        self.queues.fill(PLANTED, &self.campaign.planted)?;
        let command = ["leak-test-worker", "--masker", misdeed];
        let ran = self.work("worker that leaks", &command, PLANTED, Part::Keyed, masking, activity).await?;
        must_end_with(&ran, 0)?;
        self.tell(&ran, "leaked on purpose");
        self.look_at(&ran);
        Ok(())
    }

    /// Runs a worker to its end, with an eye on what the database shows of its sessions.
    async fn work(
        &self,
        name: &'static str,
        command: &[&str],
        queue: &str,
        part: Part,
        with: &[(&'static str, String)],
        activity: &mut Look<'_>,
    ) -> Result<Ran, Failure> {
        let step = Step::begin(name);
        let url = self.store.url(part);
        let job = Job { name, command, queue, database_url: &url, with };
        let working = workers::run(self.queues, job, self.args.messages, self.stop);
        let ran = match self.store {
            Store::Sqlite { .. } => working.await,
            Store::Postgres { server } => {
                tokio::select! {
                    ran = working => ran,
                    failure = watch(server, activity) => Err(failure),
                }
            }
        };
        drop(step);
        ran
    }

    fn look_at(&mut self, ran: &Ran) {
        let Ran { name, stdout, stderr, .. } = ran;
        self.search.bytes(self.scanner, Place::nowhere(format!("stdout of the {name}")), stdout);
        self.search.bytes(self.scanner, Place::nowhere(format!("stderr of the {name}")), stderr);
    }

    fn tell(&self, ran: &Ran, what: &str) {
        report::print(&format!("{}: {what}\n", ran.name));
    }

    /// A run that stored nothing proves nothing.
    async fn must_hold(&self, ran: &Ran, part: Part, expected: Counts) -> Result<Counts, Failure> {
        let counts = self.store.counts(part).await?;
        if counts == expected {
            return Ok(counts);
        }
        Err(Failure::failed(format!(
            "{}: the database holds {} rows and {} rejects, where {} and {} were to be",
            ran.name, counts.rows, counts.rejects, expected.rows, expected.rejects
        )))
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

/// Looks at the sessions of the database again and again. It ends only if they cannot be looked at.
async fn watch(server: &Server, activity: &mut Look<'_>) -> Failure {
    let mut connection = match server.connect(Part::Keyed).await {
        Ok(connection) => connection,
        Err(failure) => return failure,
    };
    loop {
        match Server::activity(&mut connection).await {
            Ok(lines) => lines.iter().for_each(|line| activity.feed(line.as_bytes())),
            Err(_) => return Failure::failed("the database does not show its sessions"),
        }
        tokio::time::sleep(LOOK_EACH).await;
    }
}

/// A worker that masks with a key, and seals what it rejects to somebody whose private key is thrown away here.
fn keyed_and_sealed() -> Result<Vec<(&'static str, String)>, Failure> {
    // The key protects made-up values for a minute; that nobody can guess it is not needed.
    let key: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    let pair = KeyPair::generate().map_err(|_| Failure::failed("cannot make a key pair"))?;
    Ok(vec![
        ("ETL_MASKING__KEY", STANDARD.encode(key)),
        ("ETL_QUARANTINE__RECIPIENT", pair.recipient().to_text()),
    ])
}

fn must_end_with(ran: &Ran, exit_code: i32) -> Result<(), Failure> {
    if ran.exit_code == Some(exit_code) {
        return Ok(());
    }
    // Its own last words are not shown: they may be what the test is looking for.
    let ended = ran.exit_code.map_or("by a signal".to_owned(), |code| format!("with the exit code {code}"));
    Err(Failure::failed(format!("{}: it ended {ended}, where {exit_code} was to be", ran.name)))
}

fn must_have_said(ran: &Ran, event: &str) -> Result<(), Failure> {
    if ran.has_event(event) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{}: its log has no event {event}, so what was to go wrong did not",
        ran.name
    )))
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
