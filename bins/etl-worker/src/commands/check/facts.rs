//! What is asked of the queue and of the database.

use std::sync::Arc;

use fetch_etl_core::{ErrorClass, KeyId, MessageSource as _, SinkError};
use fetch_etl_mask::MaskPlan;
use fetch_etl_postgres::DatabasePosture;
use fetch_etl_seal::{EnvelopeSealer, VaultSealer};
use fetch_etl_sqs::{DeadLetterState, QueuePosture};

use super::code::{self, About};
use super::finding::{Finding, NotChecked, finding};
use crate::failure::Failure;
use crate::policy::{self, Disagreement};
use crate::queue;
use crate::recipients::{self, Changed};
use crate::settings::{Settings, SinkSettings};
use crate::sinks::{self, Database};

/// What a look at something brought.
pub(super) struct Seen<P> {
    /// In a few words, for people.
    pub(super) words: String,
    /// How it is set up, as far as that could be found out.
    pub(super) posture: Option<P>,
    /// What is wrong with it that shows by using it.
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<NotChecked>,
}

impl<P> Seen<P> {
    fn not_usable(about: About, why: String) -> Self {
        Self {
            words: "not usable, see below".to_owned(),
            posture: None,
            findings: Vec::new(),
            not_checked: vec![NotChecked { about, why }],
        }
    }
}

pub(super) async fn look_at_queue(settings: &Settings) -> Seen<QueuePosture> {
    let source = match queue::connect(&settings.source).await {
        Ok(source) => source,
        Err(failure) => return Seen::not_usable(About::Queue, failure.to_string()),
    };
    // What may not be asked is not known, and nothing that running needs.
    let depth = source.depth().await.ok().flatten();
    let words = match depth {
        Some(depth) => {
            format!("answers; about {} messages wait, {} are being worked on", depth.visible, depth.in_flight)
        }
        None => "answers; it does not tell how many messages wait".to_owned(),
    };
    let (posture, why) = match source.posture().await {
        Ok(Some(posture)) => {
            let unseen = unseen_part(&posture);
            (Some(posture), unseen)
        }
        Ok(None) => (
            None,
            Some("these credentials may not read how it is set up (allow sqs:GetQueueAttributes)".to_owned()),
        ),
        Err(error) => (None, Some(error.to_string())),
    };
    let not_checked = why.map(|why| NotChecked { about: About::Queue, why }).into_iter().collect();
    Seen { words, posture, findings: Vec::new(), not_checked }
}

fn unseen_part(queue: &QueuePosture) -> Option<String> {
    let dead = queue.dead_letter.as_ref().filter(|dead| dead.state == DeadLetterState::Unknown)?;
    let name = &dead.name;
    Some(format!(
        "these credentials may not look at the dead-letter queue {name} (allow sqs:GetQueueUrl and sqs:GetQueueAttributes on it)"
    ))
}

/// What this worker would do, to be compared with what was done before.
pub(super) struct Expected<'a> {
    pub(super) plan: &'a MaskPlan,
    pub(super) sealer: Option<&'a Arc<EnvelopeSealer>>,
    pub(super) vault: Option<&'a Arc<VaultSealer>>,
}

pub(super) async fn look_at_database(
    settings: &SinkSettings,
    expected: &Expected<'_>,
) -> Seen<DatabasePosture> {
    let database = match Database::connect(settings).await {
        Ok(database) => database,
        Err(error) => return Seen::not_usable(About::Database, told(settings, &error)),
    };
    let seen = match look_into(settings, &database, expected).await {
        Ok(seen) => seen,
        Err(error) => Seen::not_usable(About::Database, told(settings, &error)),
    };
    database.close().await;
    seen
}

fn told(settings: &SinkSettings, error: &SinkError) -> String {
    let Failure { text, hint, .. } = sinks::failure(settings, error);
    match hint {
        Some(hint) => format!("{text} ({hint})"),
        None => text,
    }
}

async fn look_into(
    settings: &SinkSettings,
    database: &Database,
    expected: &Expected<'_>,
) -> Result<Seen<DatabasePosture>, SinkError> {
    let mut findings = Vec::new();
    let words = match look_at_tables(settings, database).await? {
        Tables::Fit => {
            findings.extend(compare_policies(expected.plan, database).await?);
            let changed = recipients::changed(database, expected.sealer, expected.vault).await?;
            findings.extend(changed.iter().map(recipient_changed));
            "answers; its tables fit".to_owned()
        }
        Tables::ToCome(words) => words,
        Tables::DoNotFit(finding) => {
            findings.push(finding);
            "answers; its tables do not fit".to_owned()
        }
    };
    let posture = match database {
        Database::Postgres(sink) => Some(sink.posture().await?),
        Database::Sqlite(_) => None,
    };
    Ok(Seen { words, posture, findings, not_checked: Vec::new() })
}

async fn compare_policies(plan: &MaskPlan, database: &Database) -> Result<Option<Finding>, SinkError> {
    match policy::compare(plan, database.policies()).await {
        Ok(in_force) if in_force == plan.newest() => Ok(None),
        Ok(in_force) => Ok(Some(newer_key_waits(plan, in_force))),
        Err(Disagreement::Store(error)) => Err(error),
        Err(disagreement) => {
            let Failure { text, hint, .. } = disagreement.into();
            Ok(Some(finding(&code::POLICY_DIFFERS, text, hint.unwrap_or_default())))
        }
    }
}

fn recipient_changed(changed: &Changed) -> Finding {
    let fix = "where nobody changed it on purpose: put the recipient of before back, and find out who may write the configuration";
    finding(&code::RECIPIENT_CHANGED, changed.to_string(), fix)
}

fn newer_key_waits(plan: &MaskPlan, in_force: KeyId) -> Finding {
    let what = format!(
        "the newest masking key has the id {}, and the one with the id {} is in force",
        plan.newest().get(),
        in_force.get()
    );
    finding(&code::POLICY_NEWER_KEY_WAITS, what, "etl-admin rotate --config FILE")
}

/// What is known of the tables.
enum Tables {
    Fit,
    /// They are to be made, and that `run` does.
    ToCome(String),
    DoNotFit(Finding),
}

async fn look_at_tables(settings: &SinkSettings, database: &Database) -> Result<Tables, SinkError> {
    let Err(error) = database.check_schema().await else { return Ok(Tables::Fit) };
    let unfit = |error: SinkError| {
        if error.class() != ErrorClass::Fatal || error.code().is_some() {
            return Err(error);
        }
        let fix = "ALTER TABLE user_logins, so that it can hold what is said to be needed";
        Ok(Tables::DoNotFit(finding(&code::DATABASE_TABLES_UNFIT, error.to_string(), fix)))
    };
    let pending = match database.pending_migrations().await {
        Ok(pending) => pending,
        Err(error) => return unfit(error),
    };
    match pending {
        0 => unfit(error),
        _ if !settings.migrate => {
            let fix = "etl-worker migrate --config FILE, as the tables' owner";
            Ok(Tables::DoNotFit(finding(&code::DATABASE_NOT_MIGRATED, error.to_string(), fix)))
        }
        _ => {
            let noun = if pending == 1 { "migration is" } else { "migrations are" };
            Ok(Tables::ToCome(format!(
                "answers; {pending} {noun} to be applied, and run does that (sink.migrate = true)"
            )))
        }
    }
}

/// Whether a connection to this address leaves the machine.
pub(super) fn leaves_machine(url: &str) -> bool {
    !is_here(host(url))
}

/// The same of a Postgres, whose address may name its host in the query, or leave that to the environment's `PGHOST`.
pub(super) fn database_leaves_machine(url: &str, pghost: Option<&str>) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    // The last one counts.
    let named = parameters.rev().find(|(name, _)| ["host", "hostaddr"].contains(name)).map(|(_, host)| host);
    let of_url = Some(host(url)).filter(|host| !host.is_empty());
    !is_here(named.or(of_url).or(pghost).unwrap_or_default())
}

fn host(url: &str) -> &str {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// No host, or a path (which an address encodes as %2F), is a local socket.
fn is_here(host: &str) -> bool {
    let is_path = host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f");
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host.is_empty() || host == "localhost" || is_path || is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_this_machine() {
        for (url, leaves) in [
            ("postgres://etl:pw@db:5432/logins", true),
            ("postgres://etl:pw@127.0.0.1:5432/logins", false),
            ("postgres://localhost/logins", false),
            ("postgres://[::1]:5432/logins", false),
            ("postgres://etl@%2Fvar%2Frun%2Fpostgresql/logins", false),
            ("postgres:///logins", false),
            ("http://10.0.0.7:9324", true),
        ] {
            assert_eq!(leaves_machine(url), leaves, "{url}");
        }
    }

    #[test]
    fn a_databases_host_may_stand_elsewhere_than_in_its_place() {
        for (url, pghost, leaves) in [
            ("postgres:///logins?host=db", None, true),
            ("postgres://localhost/logins?sslmode=prefer&hostaddr=10.0.0.7", None, true),
            ("postgres://db/logins?host=/var/run/postgresql", None, false),
            ("postgres:///logins?host=%2Fvar%2Frun", Some("db"), false),
            ("postgres:///logins", Some("db"), true),
            ("postgres:///logins", Some("/var/run/postgresql"), false),
            ("postgres:///logins", None, false),
            ("postgres://localhost/logins", Some("db"), false),
        ] {
            assert_eq!(database_leaves_machine(url, pghost), leaves, "{url} {pghost:?}");
        }
    }
}
