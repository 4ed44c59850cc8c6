//! `etl-admin erase`.

use std::fmt::Write as _;

use etl_worker::failure::Failure;
use etl_worker::report;
use fetch_etl_core::{Quarantine as _, QuarantineFilter, QuarantineState};
use fetch_etl_postgres::{AuditEvent, AuditHead, Erasure, Maintenance};

use crate::Outcome;
use crate::actor::Actor;
use crate::audit::head;
use crate::cli::EraseArgs;
use crate::store::PeopleStore;
use crate::words::{counted, harmless};

pub(crate) async fn run(args: EraseArgs) -> Result<Outcome, Failure> {
    if args.user.is_empty() {
        return Err(Failure::usage("--user: nobody has an empty id"));
    }
    let store = PeopleStore::open(&args.config).await?;
    let mut maintenance = store.sink.begin_maintenance().await.map_err(|error| store.failure(error))?;
    let request = Request { subject: format!("user {}", args.user), actor: Actor::of_this_process(), args };
    match (request.args.lift, request.args.dry_run) {
        (false, false) => erase(&store, &mut maintenance, &request).await,
        (true, false) => lift(&store, &mut maintenance, &request).await,
        (_, true) => dry_run(&store, &mut maintenance, &request).await,
    }
}

/// What is asked for, and by whom.
struct Request {
    args: EraseArgs,
    actor: Actor,
    subject: String,
}

impl Request {
    fn event<'a>(&'a self, action: &'a str, entries: u64) -> AuditEvent<'a> {
        AuditEvent { entries, ..self.actor.event(action, &self.subject, &self.args.why.reason) }
    }
}

async fn dry_run(
    store: &PeopleStore,
    maintenance: &mut Maintenance,
    request: &Request,
) -> Result<Outcome, Failure> {
    let surveyed = maintenance.survey(&request.args.user).await;
    let (known, would) = surveyed.map_err(|error| store.failure(error))?;
    let user = harmless(&request.args.user);
    if request.args.lift {
        let text = if known { "would take the tombstone away" } else { "there is no tombstone" };
        return Ok(Outcome::done(format!("{user}: {text}\n")));
    }
    let tombstone = if known { "there is a tombstone already" } else { "would leave a tombstone" };
    let mut text = format!("{user}: {tombstone}\n");
    push(&mut text, "would clear", "would delete", &would);
    if maintenance.must_wait_for_rotation().await.map_err(|error| store.failure(error))? {
        text.push_str("not before the rotation of keys is finished that was begun: etl-admin rotate\n");
    }
    text.push_str(&unsearchable(store).await?);
    Ok(Outcome::done(text))
}

async fn lift(
    store: &PeopleStore,
    maintenance: &mut Maintenance,
    request: &Request,
) -> Result<Outcome, Failure> {
    let lifted = maintenance.lift_tombstone(&request.args.user, &request.event("lift", 0)).await;
    let (there, at) = lifted.map_err(|error| store.failure(error))?;
    let text = if there {
        "the tombstone is gone; what comes of theirs from now on is stored with masks"
    } else {
        "there was no tombstone"
    };
    Ok(Outcome::done(format!("{}: {text}\n{}", harmless(&request.args.user), head(at))))
}

async fn erase(
    store: &PeopleStore,
    maintenance: &mut Maintenance,
    request: &Request,
) -> Result<Outcome, Failure> {
    let left = maintenance.leave_tombstone(&request.args.user, &request.event("erase", 0)).await;
    let (new, begun) = left.map_err(|error| store.failure(error))?;
    let (erased, at) = clear(store, maintenance, request).await.map_err(|failure| {
        // Said in any case: the audit has it.
        report::print(&head(begun));
        failure.hint(
            "the tombstone is left, so nothing of theirs comes in any more; run it again for what is there",
        )
    })?;
    let tombstone = if new { "left a tombstone" } else { "there was a tombstone already" };
    let mut text = format!("{}: {tombstone}\n", harmless(&request.args.user));
    if !new {
        // An earlier one may have been interrupted, and did some of it.
        text.push_str("of this run:\n");
    }
    push(&mut text, "cleared", "deleted", &erased);
    text.push_str(&unsearchable(store).await?);
    text.push_str(&head(at));
    Ok(Outcome::done(text))
}

/// What is stored, and the audit's row about it.
async fn clear(
    store: &PeopleStore,
    maintenance: &mut Maintenance,
    request: &Request,
) -> Result<(Erasure, AuditHead), Failure> {
    let erased = maintenance.erase(&request.args.user).await.map_err(|error| store.failure(error))?;
    let event = request.event("erase_finished", erased.entries);
    let at = maintenance.append_audit(&event).await.map_err(|error| store.failure(error))?;
    Ok((erased, at))
}

/// What nobody can look into for this person.
async fn unsearchable(store: &PeopleStore) -> Result<String, Failure> {
    let filter = QuarantineFilter { states: vec![QuarantineState::Open], ..QuarantineFilter::default() };
    let counted_bodies = store.sink.count(&filter).await.map_err(|error| store.failure(error))?;
    let bodies = counted_bodies.messages - counted_bodies.without_body;
    if bodies == 0 {
        return Ok(String::new());
    }
    Ok(format!(
        "not searched: {} in the quarantine; whose they are shows only when they are opened. Replayed, theirs are stored \
         without masks\n",
        counted(bodies, "sealed message", "sealed messages")
    ))
}

fn push(text: &mut String, cleared: &str, deleted: &str, erasure: &Erasure) {
    let Erasure { rows, entries, shared } = *erasure;
    let _ = writeln!(text, "{cleared} the masks of {}", counted(rows, "row", "rows"));
    let _ = writeln!(text, "{deleted} {} from the vault", counted(entries, "value", "values"));
    if shared > 0 {
        let verb = if shared == 1 { "stays" } else { "stay" };
        let _ = writeln!(
            text,
            "{} {verb} in the vault: others have the same",
            counted(shared, "value", "values")
        );
    }
}
