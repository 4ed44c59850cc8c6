//! What is unsafe about the configuration, the keys and the clocks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fetch_etl_mask::{MaskPlan, Method, UNKEYED_WARNING};
use fetch_etl_sqs::{DeadLetterState, QueuePosture};

use super::code::{self, Code};
use super::finding::{Finding, finding};
use crate::settings::{DatabaseKind, KeyPlace, Loaded, Origin, Settings, hide_password};

/// Most that clocks may be apart: less is a matter of the next look at a time server.
const LONGEST_SKEW_MS: u64 = 5_000;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is unsafe about the masks.
pub(super) fn masking(plan: &MaskPlan) -> Vec<Finding> {
    let mut findings = Vec::new();
    // As a ring alone may be, the key of which is none.
    if plan.masker(plan.newest()).is_some_and(|masker| masker.is_reversible()) {
        let fix = "etl-admin keygen master --out mask.key, and set masking.key_file = \"mask.key\"; where rows are stored already, \
                   docs/MASKING.md says how they follow";
        findings.push(finding(&code::MASKING_UNKEYED, UNKEYED_WARNING, fix));
    }
    let made_up: Vec<_> = plan.made_up_keys().iter().map(|id| id.get().to_string()).collect();
    if !made_up.is_empty() {
        let what = format!(
            "the masking key with the id {} is typed text or a pattern, no random bytes",
            made_up.join(", ")
        );
        let fix =
            "etl-admin keygen master --add-to FILE adds a random one, etl-admin rotate puts it in force";
        findings.push(finding(&code::MASKING_KEY_MADE_UP, what, fix));
    }
    for (field, method) in plan.rules() {
        if let Method::Partial(chars) = method {
            let what = format!("the last {chars} characters of {field} are stored in clear");
            let fix = format!("set masking.fields.{field} to hmac-sha512 or drop");
            findings.push(finding(&code::MASKING_PARTIAL, what, fix));
        }
    }
    findings
}

/// Clocks that are apart.
pub(super) fn clocks(queue_ms: Option<i64>, database_ms: Option<i64>) -> Vec<Finding> {
    let judge = |ahead_ms: Option<i64>, code: &'static Code, whose: &str| {
        let ahead_ms = ahead_ms.filter(|ahead| ahead.unsigned_abs() > LONGEST_SKEW_MS)?;
        let word = if ahead_ms > 0 { "ahead of" } else { "behind" };
        let seconds = ahead_ms.unsigned_abs().div_ceil(1_000);
        let what = format!("this machine's clock is at least {seconds} seconds {word} {whose}");
        Some(finding(code, what, "timedatectl set-ntp true, or what keeps the time in your cluster"))
    };
    let queue = judge(queue_ms, &code::CLOCK_DIFFERS_FROM_QUEUE, "the queue's");
    queue
        .into_iter()
        .chain(judge(database_ms, &code::CLOCK_DIFFERS_FROM_DATABASE, "the database's"))
        .collect()
}

/// What is unsafe about the rest.
pub(super) fn list(loaded: &Loaded, settings: &Settings, queue: Option<&QueuePosture>) -> Vec<Finding> {
    let mut findings = open_secrets(loaded, settings);
    findings.extend(queue.and_then(|queue| ledger(settings, queue)));
    findings.extend(writers(settings));
    findings
}

fn ledger(settings: &Settings, queue: &QueuePosture) -> Option<Finding> {
    let kept = queue.retention?;
    let dead = match queue.dead_letter.as_ref().map(|dead| &dead.state) {
        Some(DeadLetterState::There(Some(dead))) => *dead,
        _ => Duration::ZERO,
    };
    let days = |time: Duration| time.as_secs().div_ceil(DAY.as_secs());
    let (queue_days, dead_days) = (days(kept), days(dead));
    let ours = settings.sink.ledger_retention_days;
    let needed = queue_days + dead_days;
    (u64::from(ours) <= needed).then(|| {
        let dead = if dead_days > 0 {
            format!(", and its dead-letter queue for {dead_days}")
        } else {
            String::new()
        };
        finding(
            &code::LEDGER_RETENTION_SHORT,
            format!(
                "the queue keeps messages for {queue_days} days{dead}, and the ledger knows them for {ours}"
            ),
            format!("set ledger.retention_days to {} or more", needed + 1),
        )
    })
}

fn writers(settings: &Settings) -> Option<Finding> {
    let (writers, connections) = (settings.pipeline.writers, settings.sink.max_connections);
    let share = settings.sink.database.kind() == DatabaseKind::Postgres && writers > connections as usize;
    share.then(|| {
        finding(
            &code::WRITERS_SHARE_CONNECTIONS,
            format!("{writers} writers share {connections} connections"),
            format!("set sink.max_connections to {writers}, or pipeline.writers to {connections}"),
        )
    })
}

fn open_secrets(loaded: &Loaded, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut look = |key: &str, file: &Path| {
        if others_can_read(file) {
            let file = file.display();
            let what = format!("everybody on this machine can read {file} ({key})");
            findings.push(finding(&code::SECRET_FILE_OPEN, what, format!("chmod o-rwx {file}")));
        }
    };
    if let Some(KeyPlace::File(file, _)) = &settings.masking.key {
        look("masking.key_file", file);
    }
    if let Some(file) = &settings.sink.database_url_file {
        look("sink.database_url_file", file);
    }
    let has_password = hide_password(settings.sink.database.expose()) != settings.sink.database.expose();
    let secrets = [("masking.key", true), ("sink.database_url", has_password)];
    for (key, _) in secrets.into_iter().filter(|(_, is_secret)| *is_secret) {
        if let Some(Origin::File { file, .. }) = loaded.origin(key) {
            look(key, Path::new(file));
        }
    }
    findings
}

fn others_can_read(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_some_seconds_apart() {
        let codes = |queue, database| {
            clocks(queue, database).into_iter().map(|found| (found.code.id, found.what)).collect::<Vec<_>>()
        };
        for fine in [None, Some(0), Some(5_000), Some(-5_000)] {
            assert_eq!(codes(fine, fine), []);
        }
        let (ahead, behind) = ("6 seconds ahead of the queue's", "600 seconds behind the database's");
        let found = codes(Some(5_001), Some(-600_000));
        assert_eq!((found[0].0, found[1].0), ("clock-differs-from-queue", "clock-differs-from-database"));
        assert!(found[0].1.ends_with(ahead) && found[1].1.ends_with(behind), "{found:?}");
    }
}
