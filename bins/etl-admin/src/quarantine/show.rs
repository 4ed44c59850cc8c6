//! `etl-admin quarantine show`.

use std::io::{self, IsTerminal as _, Write as _};

use etl_worker::failure::Failure;
use etl_worker::settings::Loaded;
use fetch_etl_core::{Pii, QuarantineEntry, QuarantineFilter};
use fetch_etl_postgres::AuditEvent;
use fetch_etl_seal::{KeyPair, Opener, Purpose};
use zeroize::Zeroizing;

use super::{Store, list};
use crate::actor::{Actor, unsaid};
use crate::cli::ShowArgs;
use crate::words::harmless;
use crate::{Outcome, key_file};

pub(super) async fn run(args: ShowArgs) -> Result<Outcome, Failure> {
    let key = args.private_key;
    let pair =
        key.private_key.map(|file| key_file::read_private(&file, key.insecure_permissions)).transpose()?;
    let store = Store::open(Loaded::read(&args.config.inputs())?.sink()?).await?;
    let filter = QuarantineFilter { keys: vec![args.key], ..QuarantineFilter::default() };
    let entries = store.quarantine.list(&filter, 1).await.map_err(|error| store.failure(error))?;
    let Some(entry) = entries.first() else {
        return Err(Failure::failed("the quarantine knows no message of this key")
            .hint("etl-admin quarantine list --state all"));
    };
    match pair {
        Some(pair) => {
            audit(&store, entry, args.reason.as_deref().unwrap_or_default()).await?;
            let body = open(&store, &filter, entry, pair).await?;
            print(&body)?;
            Ok(Outcome::done(""))
        }
        None => Ok(Outcome::done(told(entry, store.codes()))),
    }
}

/// Says in the audit who is about to see a message, where there is an audit. Before anything is opened: without it, nothing is.
async fn audit(store: &Store, entry: &QuarantineEntry, reason: &str) -> Result<(), Failure> {
    let Some(sink) = &store.postgres else { return Ok(()) };
    let (actor, subject) = (Actor::of_this_process(), format!("rejected message {}", entry.key));
    let event = AuditEvent { level: Some("full"), entries: 1, ..actor.event("show", &subject, reason) };
    sink.append_audit(&event).await.map(drop).map_err(|error| unsaid("shown", store.failure(error)))
}

fn told(entry: &QuarantineEntry, codes: &str) -> String {
    let origin = if entry.by_producer { "the producer's" } else { "the queue's id of the message" };
    let lines = [
        ("key", format!("{} ({origin})", harmless(&entry.key))),
        ("state", harmless(&entry.state)),
        ("reason", harmless(&entry.reason)),
        ("where", list::place(entry, codes)),
        ("length", entry.length.map(|length| length.to_string()).unwrap_or_default()),
        ("body bytes", entry.body_bytes.to_string()),
        ("deliveries", entry.receive_count.to_string()),
        ("sealed to", entry.recipient_id.as_deref().map_or_else(|| "no body is kept".to_owned(), harmless)),
        ("sent", harmless(&entry.sent_at)),
        ("first seen", harmless(&entry.first_seen_at)),
        ("last seen", harmless(&entry.last_seen_at)),
        ("closed", closed(entry)),
    ];
    let line = |(name, value): (&str, String)| {
        format!("{:<12}{value}", format!("{name}:")).trim_end().to_owned() + "\n"
    };
    lines.into_iter().filter(|(name, value)| *name != "closed" || !value.is_empty()).map(line).collect()
}

/// When it was replayed or discarded, and as which role of the database.
fn closed(entry: &QuarantineEntry) -> String {
    let by = entry.closed_by.as_deref().map(|role| format!(" by {}", harmless(role))).unwrap_or_default();
    entry.closed_at.as_deref().map(|at| format!("{}{by}", harmless(at))).unwrap_or_default()
}

/// Opens the body of the one message that the filter means.
async fn open(
    store: &Store,
    filter: &QuarantineFilter,
    entry: &QuarantineEntry,
    pair: KeyPair,
) -> Result<Pii<Vec<u8>>, Failure> {
    let given = pair.recipient().id().to_string();
    let Some(wanted) = entry.recipient_id.as_deref() else {
        return Err(Failure::failed("no body of this message is kept"));
    };
    if wanted != given {
        return Err(Failure::failed(format!(
            "the body is sealed to the recipient {}; this key is {given}",
            harmless(wanted)
        )));
    }
    let sealed =
        store.quarantine.sealed(filter, &given, "", 1).await.map_err(|error| store.failure(error))?;
    // Replayed or discarded in this very moment.
    let message =
        sealed.first().ok_or_else(|| Failure::failed("no body of this message is kept any more"))?;
    Opener::new(pair)
        .open(Purpose::Quarantine, &message.key, message.body.bytes())
        .map_err(|error| Failure::failed(format!("the body does not open: {error}")))
}

/// Prints a body as it is, but for what could steer a terminal, where it goes to one.
fn print(body: &Pii<Vec<u8>>) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let printed = if stdout.is_terminal() {
        let text = Zeroizing::new(String::from_utf8_lossy(body.expose()).into_owned());
        let mut lines = text.lines().map(|line| Zeroizing::new(harmless(line) + "\n"));
        lines.try_for_each(|line| stdout.write_all(line.as_bytes()))
    } else {
        stdout.write_all(body.expose())
    };
    printed
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::failed(format!("cannot write to stdout: {}", error.kind())))
}
