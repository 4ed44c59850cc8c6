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
    let maintenance = store.sink.begin_maintenance().await.map_err(|error| store.failure(error))?;
    let work = Work { store, maintenance, actor: Actor::of_this_process(), args };
    match (work.args.lift, work.args.dry_run) {
        (false, false) => work.erase().await,
        (true, false) => work.lift().await,
        (lift, true) => work.dry_run(lift).await,
    }
}

struct Work {
    store: PeopleStore,
    maintenance: Maintenance,
    actor: Actor,
    args: EraseArgs,
}

impl Work {
    async fn dry_run(mut self, lift: bool) -> Result<Outcome, Failure> {
        let surveyed = self.maintenance.survey(&self.args.user).await;
        let (known, would) = surveyed.map_err(|error| self.store.failure(error))?;
        let user = harmless(&self.args.user);
        if lift {
            let text = if known { "would take the tombstone away" } else { "there is no tombstone" };
            return Ok(Outcome::done(format!("{user}: {text}\n")));
        }
        let tombstone = if known { "there is a tombstone already" } else { "would leave a tombstone" };
        let mut text = format!("{user}: {tombstone}\n");
        push(&mut text, "would clear", "would delete", &would);
        text.push_str(&self.unsearchable().await?);
        Ok(Outcome::done(text))
    }

    async fn lift(mut self) -> Result<Outcome, Failure> {
        let subject = self.subject();
        let event = self.event("lift", &subject, 0);
        let lifted = self.maintenance.lift_tombstone(&self.args.user, &event).await;
        let (there, at) = lifted.map_err(|error| self.store.failure(error))?;
        let user = harmless(&self.args.user);
        let text = if there {
            "the tombstone is gone; what comes of theirs from now on is stored with masks"
        } else {
            "there was no tombstone"
        };
        Ok(Outcome::done(format!("{user}: {text}\n{}", head(at))))
    }

    async fn erase(mut self) -> Result<Outcome, Failure> {
        let subject = self.subject();
        let event = self.event("erase", &subject, 0);
        let left = self.maintenance.leave_tombstone(&self.args.user, &event).await;
        let (new, begun) = left.map_err(|error| self.store.failure(error))?;
        let (erased, at) = self.clear(&subject).await.map_err(|failure| {
            // Said in any case: the audit has it.
            report::print(&head(begun));
            failure.hint("the tombstone is left, so nothing of theirs comes in any more; run it again for what is there")
        })?;
        let tombstone = if new { "left a tombstone" } else { "there was a tombstone already" };
        let mut text = format!("{}: {tombstone}\n", harmless(&self.args.user));
        push(&mut text, "cleared", "deleted", &erased);
        text.push_str(&self.unsearchable().await?);
        text.push_str(&head(at));
        Ok(Outcome::done(text))
    }

    async fn clear(&mut self, subject: &str) -> Result<(Erasure, AuditHead), Failure> {
        let erased =
            self.maintenance.erase(&self.args.user).await.map_err(|error| self.store.failure(error))?;
        let Actor { os_user, host } = &self.actor;
        let event = AuditEvent {
            os_user,
            host: Some(host),
            action: "erase_finished",
            reason: &self.args.why.reason,
            subject,
            level: None,
            entries: erased.entries,
        };
        let at = self.maintenance.append_audit(&event).await.map_err(|error| self.store.failure(error))?;
        Ok((erased, at))
    }

    /// What nobody can look into for this person.
    async fn unsearchable(&self) -> Result<String, Failure> {
        let filter = QuarantineFilter { states: vec![QuarantineState::Open], ..QuarantineFilter::default() };
        let counted_bodies =
            self.store.sink.count(&filter).await.map_err(|error| self.store.failure(error))?;
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

    fn subject(&self) -> String {
        format!("user {}", self.args.user)
    }

    fn event<'a>(&'a self, action: &'a str, subject: &'a str, entries: u64) -> AuditEvent<'a> {
        let Actor { os_user, host } = &self.actor;
        let reason = &self.args.why.reason;
        AuditEvent { os_user, host: Some(host), action, reason, subject, level: None, entries }
    }
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
