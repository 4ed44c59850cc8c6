//! The numbers are the pipeline's, in both formats, and no value of a message is among them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::{
    ErrorClass, KeyId, MaskPolicy, PolicyInForce, QueueDepth, SinkError, SourceError, UnixMillis,
};
use fetch_etl_telemetry::{Format, Kind, METRICS, watch_queue};
use fetch_etl_testing::{Fault, Gate, InMemorySource, Outgoing, SourceOp, SourceSettings};

use crate::support::{Rig, Scrape, login};

#[tokio::test(start_paused = true)]
async fn a_scrape_is_the_summary_and_more() {
    let rig = Rig::new().in_order();
    rig.telemetry.masks_with(KeyId::new(7));
    rig.sink.next(Fault::DoneThenFail(SinkError::new(ErrorClass::Retryable, "cut")));
    rig.send(&[&login("canary-user-7f3a"), &login("u-2"), "canary-user-7f3a is no JSON"]);
    let running = rig.start();
    rig.settled(3).await;
    let scrape = rig.scrape();
    rig.stop.cancel();
    let summary = running.await.unwrap().unwrap();
    let whole = |number: u64| number as f64;
    for (sample, number) in [
        ("etl_messages_received_total", summary.received),
        ("etl_rows_inserted_total", summary.inserted),
        ("etl_rows_duplicate_total", summary.duplicates),
        ("etl_messages_rejected_total{reason=\"invalid_json\"}", 1),
        ("etl_messages_rejected_total{reason=\"too_long\"}", 0),
        ("etl_messages_returned_total{cause=\"rejected\"}", summary.returned),
        ("etl_messages_in_flight", 0),
        ("etl_messages_in_flight_limit", 500),
        ("etl_conservation_difference", 0),
        ("etl_unknown_fields_total", 2),
        ("etl_retries_total{operation=\"write\",class=\"retryable\"}", 1),
        ("etl_failures_total{operation=\"write\",class=\"retryable\"}", 1),
        ("etl_failures_total{operation=\"receive\",class=\"fatal\"}", 0),
        ("etl_batch_rows_sum", 3),
        ("etl_batch_rows_bucket{le=\"+Inf\"}", 1),
        ("etl_batch_rows_bucket{le=\"1\"}", 0),
        ("etl_batch_rows_bucket{le=\"10\"}", 1),
        ("etl_commit_seconds_count", 1),
        ("etl_batch_seconds_count", 1),
        ("etl_breaker_open", 0),
        ("etl_ready{part=\"source\"}", 1),
        ("etl_mask_key_info{key_id=\"7\"}", 1),
        ("etl_build_info{version=\"1.2.3\",commit=\"abcdef0\"}", 1),
    ] {
        assert_eq!(scrape.get(sample), whole(number), "{sample}");
    }
    assert!(summary.inserted + summary.duplicates == 2 && summary.duplicates > 0, "{summary}");
    for sample in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(scrape.get(sample) > 0.0, "{sample}");
    }
    assert!(scrape.get("process_start_time_seconds") > 1.7e9);
}

#[tokio::test(start_paused = true)]
async fn lag_is_the_age_of_the_oldest_message_in_flight() {
    let rig = Rig::new().in_order();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    let hour_ago = UnixMillis::new(UnixMillis::now().get() - 3_600_000);
    let outgoing = Outgoing { sent_at: Some(hour_ago), ..Default::default() };
    rig.source.send_with(login("u-1"), outgoing);
    let running = rig.start();
    gate.reached(1).await;
    let age = rig.scrape().get("etl_oldest_message_age_seconds");
    assert!((3_600.0..3_660.0).contains(&age), "{age}");
    assert_eq!(rig.scrape().get("etl_messages_in_flight"), 1.0);
    gate.open();
    rig.settled(1).await;
    while rig.stats.acked.get() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.scrape().get("etl_oldest_message_age_seconds"), 0.0);
    rig.stop.cancel();
    running.await.unwrap().unwrap();
}

#[test]
fn whatever_is_exported_is_in_the_table_and_has_its_labels() {
    let rig = Rig::new();
    rig.telemetry.masks_with(KeyId::UNKEYED);
    rig.telemetry.queue_depth(Some(QueueDepth { visible: 1, in_flight: 2, delayed: 3 }));
    rig.telemetry.policy_in_force(&in_force());
    let families = rig.telemetry.families();
    assert_eq!(families.len(), METRICS.len());
    for (family, metric) in families.iter().zip(METRICS) {
        assert_eq!(family.metric, *metric, "in the order of the table");
        assert!(!family.points.is_empty(), "{}", metric.name());
        let mut seen = BTreeSet::new();
        for point in &family.points {
            let names: Vec<_> = point.labels.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, metric.labels, "{}", metric.name());
            let values: Vec<_> = point.labels.iter().map(|(_, value)| value.to_string()).collect();
            assert!(seen.insert(values), "{} has equal labels twice", metric.name());
        }
    }
}

fn in_force() -> PolicyInForce {
    let policy = MaskPolicy {
        methods: "ip=hmac-sha512 device_id=redact".to_owned(),
        key_id: KeyId::new(3),
        key_check: "secret-check".to_owned(),
        domain: "domain-name".to_owned(),
        canonical_version: 1,
    };
    PolicyInForce { version: 12, policy }
}

#[test]
fn both_formats_say_the_same_and_declare_every_metric() {
    let rig = Rig::new();
    rig.telemetry.policy_in_force(&in_force());
    let families = rig.telemetry.families();
    let (open, text) = (Format::OpenMetrics.encode(families.clone()), Format::Text.encode(families));
    // They only differ in how they write a bucket's bound.
    assert_eq!(Scrape::of(&open.replace(".0\"}", "\"}")).0, Scrape::of(&text).0);
    assert!(open.ends_with("# EOF\n") && !text.contains("# EOF"), "{open}");
    for metric in METRICS {
        let name = metric.name();
        let kind = if metric.kind == Kind::Info { "gauge" } else { metric.kind.as_str() };
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}: {text}");
    }
    assert!(open.contains("# UNIT etl_commit_seconds seconds\n"), "{open}");
    assert!(
        text.contains("etl_mask_policy_info{version=\"12\",key_id=\"3\",canonical_version=\"1\"} 1\n"),
        "{text}"
    );
    for secret in ["secret-check", "domain-name", "redact"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn who_asks_for_open_metrics_gets_it() {
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
    for accept in [None, Some("*/*"), Some("text/plain"), Some("")] {
        assert_eq!(Format::accepted(accept), Format::Text, "{accept:?}");
    }
}

const VISIBLE: &str = "etl_queue_messages{state=\"visible\"}";

#[tokio::test(start_paused = true)]
async fn the_queue_is_asked_now_and_then_and_an_old_number_is_not_kept() {
    let rig = Rig::new();
    rig.send(&["a", "b"]);
    let _watching = watch_queue(rig.telemetry.clone(), rig.source.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.scrape().get(VISIBLE), 2.0);
    rig.send(&["c"]);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.scrape().get(VISIBLE), 2.0, "not asked yet");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.scrape().get(VISIBLE), 3.0);
    rig.source.set_outage(SourceOp::Depth, Some(SourceError::retryable("cannot connect")));
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(!rig.scrape().0.contains_key(VISIBLE));
    rig.source.set_outage(SourceOp::Depth, None);
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(rig.scrape().get(VISIBLE), 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_does_not_tell_is_not_asked_again() {
    let rig = Rig::new();
    let source = InMemorySource::with(SourceSettings { tells_depth: false, ..SourceSettings::default() });
    let watching = watch_queue(rig.telemetry.clone(), Arc::new(source));
    watching.await.unwrap();
    assert!(!rig.scrape().0.contains_key(VISIBLE));
}
