//! What is unsafe about a configuration that works.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use fetch_etl_mask::UNKEYED_WARNING;

use crate::settings::{DatabaseKind, KeyPlace, Loaded, Origin, Settings};

/// What the queue says about itself; `None` where it does not say, or may not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct QueueFacts {
    pub(super) has_dead_letter_queue: Option<bool>,
    pub(super) retention: Option<Duration>,
}

/// Everything that is unsafe, each in one sentence with the key it concerns.
pub(super) fn list(loaded: &Loaded, settings: &Settings, queue: &QueueFacts, is_plain: bool) -> Vec<String> {
    let mut findings = Vec::new();
    findings.extend(masking(is_plain));
    findings.extend(open_secrets(loaded, settings));
    findings.extend(database(settings));
    findings.extend(pipeline(settings));
    findings.extend(of_queue(settings, queue));
    findings
}

fn masking(is_plain: bool) -> Option<String> {
    is_plain.then(|| format!("masking.method: {UNKEYED_WARNING}; set masking.key_file"))
}

fn of_queue(settings: &Settings, queue: &QueueFacts) -> Vec<String> {
    let mut findings = Vec::new();
    if queue.has_dead_letter_queue == Some(false) {
        findings.push(
            "source: the queue has no dead-letter queue, so a message that is rejected comes back again and again until \
             the queue's retention ends it; give the queue a redrive policy"
                .to_owned(),
        );
    }
    let days = queue.retention.map(|retention| retention.as_secs().div_ceil(24 * 60 * 60));
    if let Some(days) = days.filter(|&days| u64::from(settings.sink.ledger_retention_days) <= days) {
        findings.push(format!(
            "ledger.retention_days: the queue keeps messages for {days} days; the ledger must know them for longer, and for \
             the dead-letter queue's retention on top, or one that comes late is written twice"
        ));
    }
    if settings.source.visibility_timeout.is_some_and(|timeout| timeout < Duration::from_secs(10)) {
        findings.push(
            "source.visibility_timeout_s: under 10 seconds there is hardly time to write a message before others receive \
             it, too"
                .to_owned(),
        );
    }
    if settings.source.endpoint_url.as_deref().is_some_and(goes_in_clear) {
        findings.push(
            "source.endpoint_url: http:// to another machine: messages travel in clear; use https://"
                .to_owned(),
        );
    }
    findings
}

fn database(settings: &Settings) -> Option<String> {
    let url = settings.sink.database.expose();
    let open =
        settings.sink.database.kind() == DatabaseKind::Postgres && leaves_machine(url) && !demands_tls(url);
    open.then(|| {
        "sink.database_url: the connection to another machine need not be encrypted; add ?sslmode=verify-full (or require)"
            .to_owned()
    })
}

fn pipeline(settings: &Settings) -> Option<String> {
    let (writers, connections) = (settings.pipeline.writers, settings.sink.max_connections);
    let share = settings.sink.database.kind() == DatabaseKind::Postgres && writers > connections as usize;
    share.then(|| {
        format!("pipeline.writers: {writers} writers share {connections} connections (sink.max_connections) and wait for each other")
    })
}

fn open_secrets(loaded: &Loaded, settings: &Settings) -> Vec<String> {
    let mut findings = Vec::new();
    let mut look = |key: &str, file: &Path| {
        if others_can_read(file) {
            let file = file.display();
            findings.push(format!("{key}: everybody on this machine can read {file}; chmod 600 or 640 it"));
        }
    };
    if let Some(KeyPlace::File(file, _)) = &settings.masking.key {
        look("masking.key_file", file);
    }
    if let Some(file) = &settings.sink.database_url_file {
        look("sink.database_url_file", file);
    }
    let has_password =
        crate::settings::hide_password(settings.sink.database.expose()) != settings.sink.database.expose();
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

fn goes_in_clear(url: &str) -> bool {
    url.starts_with("http://") && leaves_machine(url)
}

fn demands_tls(url: &str) -> bool {
    ["require", "verify-ca", "verify-full"].iter().any(|mode| {
        ["sslmode", "ssl-mode"].iter().any(|name| {
            let parameters = url.split_once('?').map_or("", |(_, query)| query);
            parameters.split('&').any(|parameter| parameter == format!("{name}={mode}"))
        })
    })
}

fn leaves_machine(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    // No host, or a path (encoded as %2F), is a local socket.
    let local_name = host.is_empty() || host == "localhost" || host.to_ascii_lowercase().starts_with("%2f");
    !local_name && !host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use fetch_etl_mask::Method;

    use crate::settings::Inputs;

    use super::*;

    fn findings(env: &[(&str, &str)], queue: &QueueFacts) -> Vec<String> {
        let env = env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let loaded = Loaded::read(&Inputs { env, ..Inputs::default() }).unwrap();
        let settings = loaded.settings().unwrap();
        list(&loaded, &settings, queue, settings.masking.method == Method::Sha512)
    }

    const SAFE: [(&str, &str); 3] = [
        ("ETL_SOURCE__QUEUE_NAME", "logins"),
        ("ETL_SINK__DATABASE_URL", "postgres://etl:pw@db/logins?sslmode=verify-full"),
        ("ETL_MASKING__KEY", "c2VjcmV0"),
    ];

    #[test]
    fn nothing_is_found_where_nothing_is_unsafe() {
        let queue =
            QueueFacts { has_dead_letter_queue: Some(true), retention: Some(Duration::from_secs(1_209_600)) };
        assert_eq!(findings(&SAFE, &queue), Vec::<String>::new());
        assert_eq!(
            findings(&SAFE, &QueueFacts::default()),
            Vec::<String>::new(),
            "what is not known is not held against it"
        );
    }

    #[test]
    fn each_unsafe_setting_is_found() {
        let month = Duration::from_secs(30 * 24 * 60 * 60);
        for (set, queue, found) in [
            (
                ("ETL_MASKING__KEY", ""),
                QueueFacts::default(),
                "masking.method: masks made without a key can be reversed",
            ),
            (
                ("ETL_SINK__DATABASE_URL", "postgres://etl@db/logins"),
                QueueFacts::default(),
                "sink.database_url: the conn",
            ),
            (("ETL_PIPELINE__WRITERS", "5"), QueueFacts::default(), "pipeline.writers: 5 writers share 4"),
            (("ETL_SOURCE__VISIBILITY_TIMEOUT_S", "2"), QueueFacts::default(), "source.visibility_timeout_s"),
            (("ETL_SOURCE__ENDPOINT_URL", "http://queue:9324"), QueueFacts::default(), "source.endpoint_url"),
            (
                ("ETL_SOURCE__REGION", "eu-west-1"),
                QueueFacts { has_dead_letter_queue: Some(false), retention: None },
                "source: the queue has no dead-letter queue",
            ),
            (
                ("ETL_LEDGER__RETENTION_DAYS", "30"),
                QueueFacts { has_dead_letter_queue: None, retention: Some(month) },
                "ledger.retention_days: the queue keeps messages for 30 days",
            ),
        ] {
            let env: Vec<_> = SAFE.into_iter().filter(|(name, _)| *name != set.0).chain([set]).collect();
            let all = findings(&env, &queue);
            assert!(all.len() == 1 && all[0].starts_with(found), "{set:?}: {all:?}");
        }
    }

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
    fn a_secret_that_everybody_can_read_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, "c2VjcmV0").unwrap();
        let env = [SAFE[0], SAFE[1], ("ETL_MASKING__KEY_FILE", key.to_str().unwrap())];
        for (mode, count) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(findings(&env, &QueueFacts::default()).len(), count, "{mode:o}");
        }
    }
}
