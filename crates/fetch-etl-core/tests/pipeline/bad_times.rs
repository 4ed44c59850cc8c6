//! What a pipeline does when its source or sink fails.

use std::time::Duration;

use fetch_etl_core::pipeline::PipelineConfig;
use fetch_etl_core::{ErrorClass, RejectReason, SinkError, SourceError};
use fetch_etl_testing::{Fault, Gate, SourceOp, SourceSettings};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::support::Rig;

fn down() -> SinkError {
    SinkError::new(ErrorClass::Retryable, "the sink is down")
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_written_again_and_stored_once() {
    let rig = Rig::new();
    rig.sink.next(Fault::DoneThenFail(down()));
    rig.send_logins(50);
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!(summary.inserted + summary.duplicates, 50);
    assert!(summary.duplicates > 0, "what was stored before the failure counts as a duplicate");
    assert_eq!((rig.sink.len(), rig.source.left(), summary.unsettled()), (50, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_is_down_pauses_receiving_and_costs_no_redrive_count() {
    let rig = Rig::new();
    rig.sink.set_outage(Some(down()));
    rig.send_logins(2_000);
    let running = rig.start_until_empty();
    sleep(Duration::from_secs(10)).await;
    let received = rig.stats().received.get();
    assert!(rig.stats().sink_is_down());
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rig.stats().received.get(), received, "nothing is received while the sink is down");
    assert!(received < 2_000, "{received}");
    rig.sink.set_outage(None);
    let summary = running.await.unwrap().unwrap();
    // Each message was delivered once: leases were kept for an hour.
    assert_eq!((summary.received, summary.inserted, summary.leases_lost), (2_000, 2_000, 0));
    assert!(!rig.stats().sink_is_down());
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_bad_row_costs_one_row() {
    let rig = Rig::with(PipelineConfig { writers: 1, ..PipelineConfig::default() }).with_sealer();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(1_024);
    let bad = [3, 500, 1_000].map(|n| rig.source.left_ids()[n].clone());
    let refused_keys = bad.clone();
    rig.sink.refuse_if(move |row| refused_keys.iter().any(|key| key == row.key().as_str()));
    let running = rig.start_until_empty();
    rig.wait_for_in_flight(1_024).await;
    gate.open();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.inserted, summary.quarantined), (1_021, 3));
    let refused = summary.rejected[RejectReason::RefusedBySink.index()];
    assert_eq!(refused, (RejectReason::RefusedBySink, 3));
    let mut quarantined: Vec<_> = rig.sink.quarantine().iter().map(|row| row.key.clone()).collect();
    quarantined.sort();
    let mut expected = bad.to_vec();
    expected.sort();
    assert_eq!(quarantined, expected);
    // k·(2·log2 n + 1) writes isolate k of n rows; the first batch of ten, its bad row, and the quarantine rows come on top.
    let writes = rig.stats().writes.get();
    assert!(writes <= 3 * (2 * 10 + 1) + 16, "{writes}");
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn bad_rows_without_a_recipient_stay_in_the_queue_and_the_run_ends() {
    let rig = Rig::new();
    rig.send_logins(30);
    rig.sink.refuse_key(&rig.source.left_ids()[4].clone());
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.inserted, summary.left_in_queue, summary.unsettled()), (29, 1, 0));
    assert_eq!(rig.source.left(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fatal_sink_error_stops_the_worker_quarantines_nothing_and_gives_everything_back() {
    let rig = Rig::new();
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Fatal, "no such table")));
    rig.send_logins(500);
    let error = rig.run_until_empty().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot write: no such table");
    assert_eq!(error.summary.unsettled(), 0);
    assert_eq!((rig.source.left(), rig.invisible().await), (500, 0));
    assert!(rig.sink.quarantine().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fatal_source_error_still_writes_what_is_here() {
    let rig = Rig::with(PipelineConfig { writers: 1, ..PipelineConfig::default() });
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(100);
    let running = rig.start(CancellationToken::new());
    gate.reached(1).await;
    rig.wait_for_in_flight(100).await;
    rig.source.set_outage(SourceOp::Receive, Some(SourceError::fatal("access denied")));
    gate.open();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "cannot receive: access denied");
    assert_eq!((rig.sink.len(), rig.source.left()), (100, 0));
    assert_eq!(error.summary.unsettled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_is_asked_again_until_it_works() {
    let rig = Rig::new();
    rig.source.set_outage(SourceOp::Receive, Some(SourceError::retryable("cannot connect")));
    rig.send_logins(10);
    let running = rig.start_until_empty();
    sleep(Duration::from_secs(600)).await;
    let retries = rig.stats().receive_retries.get();
    assert!((60..=150).contains(&retries), "{retries} in ten minutes");
    rig.source.set_outage(SourceOp::Receive, None);
    assert_eq!(running.await.unwrap().unwrap().inserted, 10);
}

#[tokio::test(start_paused = true)]
async fn entries_that_could_not_be_deleted_are_deleted_at_the_next_try() {
    let rig = Rig::new();
    rig.source.fail_entries_of_next_ack([1, 3], SourceError::retryable("internal error"));
    rig.send_logins(10);
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.received, summary.inserted, summary.ack_failures), (10, 10, 0));
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_deleted_at_all_comes_back_and_is_a_duplicate() {
    let rig = Rig::new();
    rig.source.set_outage(SourceOp::Ack, Some(SourceError::retryable("internal error")));
    rig.send_logins(10);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    sleep(Duration::from_secs(29)).await;
    assert_eq!(rig.stats().ack_failures.get(), 10);
    rig.source.set_outage(SourceOp::Ack, None);
    sleep(Duration::from_secs(60)).await;
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.inserted, summary.duplicates), (10, 10));
    assert_eq!((rig.sink.len(), rig.source.left()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_drops_the_delivery() {
    let rig = Rig::with(PipelineConfig { writers: 1, ..PipelineConfig::default() });
    rig.source.set_outage(SourceOp::Extend, Some(SourceError::retryable("cannot connect")));
    rig.sink.set_outage(Some(down()));
    rig.send_logins(10);
    let running = rig.start_until_empty();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.stats().leases_lost.get(), 10, "they belong to whoever receives them next");
    rig.source.set_outage(SourceOp::Extend, None);
    rig.sink.set_outage(None);
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.inserted, summary.returned, summary.received), (10, 10, 20));
    assert_eq!(summary.unsettled(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lease_cannot_be_kept_past_the_longest_hold() {
    let settings = SourceSettings { max_hold: Duration::from_secs(100), ..SourceSettings::default() };
    let rig = Rig::new().with_source(settings);
    rig.sink.set_outage(Some(down()));
    rig.send_logins(10);
    let running = rig.start_until_empty();
    sleep(Duration::from_secs(90)).await;
    assert_eq!(rig.stats().leases_lost.get(), 0);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(rig.stats().leases_lost.get(), 10);
    rig.sink.set_outage(None);
    assert_eq!(running.await.unwrap().unwrap().inserted, 10);
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_sink_is_down_gives_everything_back_inside_the_grace() {
    let rig = Rig::new();
    rig.sink.set_outage(Some(down()));
    rig.send_logins(300);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    sleep(Duration::from_secs(5)).await;
    stop.cancel();
    let asked_at = tokio::time::Instant::now();
    let summary = running.await.unwrap().unwrap();
    assert!(asked_at.elapsed() <= Duration::from_secs(30), "{:?}", asked_at.elapsed());
    assert_eq!((summary.inserted, summary.returned), (0, summary.received));
    assert_eq!((rig.source.left(), rig.invisible().await), (300, 0));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_does_not_hold_up_a_stop() {
    let rig = Rig::new();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(100);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    rig.wait_for_in_flight(100).await;
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_eq!((summary.inserted, summary.returned, summary.unsettled()), (0, 100, 0));
    assert_eq!((rig.source.left(), rig.invisible().await), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_or_lies_ends_the_pipeline_with_an_error() {
    let rig = Rig::new();
    rig.sink.next(Fault::Panic);
    rig.send_logins(10);
    let error = rig.run_until_empty().await.unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");

    let rig = Rig::new();
    rig.sink.misreport_next(fetch_etl_core::WriteReport::default());
    rig.send_logins(10);
    let error = rig.run_until_empty().await.unwrap_err();
    assert!(error.to_string().contains("broke its contract"), "{error}");
    assert_eq!(rig.source.left(), 10, "nothing is deleted on a lie");
}
