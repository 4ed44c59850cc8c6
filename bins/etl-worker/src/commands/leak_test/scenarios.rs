//! What the workers are put through.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_seal::KeyPair;

use super::places::Look;
use super::postgres::Server;
use super::store::{Counts, Part, Store};
use super::workers::{self, Job, Ran};
use super::{KEYED, PANICKING, PLAIN, PLANTED, REFUSED, Step, Test};
use crate::cli::PlantPlace;
use crate::failure::Failure;
use crate::report::{self, grouped};

/// How many more workers are sent to a queue that is not empty yet.
const MORE_RUNS: usize = 10;

/// How often the sessions of the database are looked at while a worker runs.
const LOOK_EACH: Duration = Duration::from_millis(100);

impl Test<'_> {
    /// Good and bad messages, everything goes wrong that may, what is rejected is sealed.
    pub(super) async fn keyed(
        &mut self,
        masking: &[(&'static str, String)],
        seed: u64,
        activity: &mut Look<'_>,
    ) -> Result<(), Failure> {
        let keyed = &self.campaign.keyed;
        self.queues.fill(KEYED, keyed)?;
        self.queues.misbehave(KEYED, seed)?;
        let command = ["run", "--until-empty"];
        let mut ran = self.work("worker with a key", &command, KEYED, Part::Keyed, masking, activity).await?;
        // Messages whose answer was lost are hidden for a while, and a worker may take the queue for empty then.
        for _ in 0..MORE_RUNS {
            if ran.exit_code != Some(0) || self.queues.left(KEYED) == 0 {
                break;
            }
            ran.go_on(self.work(ran.name, &command, KEYED, Part::Keyed, masking, activity).await?);
        }
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
    pub(super) async fn plain(&mut self, activity: &mut Look<'_>) -> Result<(), Failure> {
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
    pub(super) async fn panicking(
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
    pub(super) async fn refused(
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
    pub(super) async fn plant(
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

/// A worker that masks with a key, and seals what it rejects, and first-seen values where there is a vault, to somebody whose private
/// key is thrown away here.
pub(super) fn keyed_and_sealed(has_vault: bool) -> Result<Vec<(&'static str, String)>, Failure> {
    // The key protects made-up values for a minute; that nobody can guess it is not needed.
    let key: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32).collect();
    let pair = KeyPair::generate().map_err(|_| Failure::failed("cannot make a key pair"))?;
    let public = pair.recipient().to_text();
    let vault = has_vault.then(|| ("ETL_VAULT__RECIPIENT", public.clone()));
    let always = [("ETL_MASKING__KEY", STANDARD.encode(key)), ("ETL_QUARANTINE__RECIPIENT", public)];
    Ok(always.into_iter().chain(vault).collect())
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
