//! What a pipeline does when all is well, and how it ends.

use std::time::Duration;

use fetch_etl_core::RejectReason;
use fetch_etl_core::pipeline::PipelineConfig;
use fetch_etl_testing::{Fault, Gate, Outgoing};
use tokio_util::sync::CancellationToken;

use super::support::{Rig, login};

#[tokio::test(start_paused = true)]
async fn every_message_becomes_one_row_and_is_deleted() {
    let rig = Rig::new();
    rig.send_logins(1_234);
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.received, summary.inserted, summary.duplicates), (1_234, 1_234, 0));
    assert_eq!((summary.returned, summary.unsettled(), summary.left_in_queue), (0, 0, 0));
    assert_eq!(rig.sink.len(), 1_234);
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_delivered_twice_is_one_row_and_one_duplicate() {
    let rig = Rig::new();
    rig.send_logins(100);
    rig.source.deliver_twice(40);
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.received, summary.inserted, summary.duplicates), (140, 100, 40));
    assert_eq!(rig.sink.len(), 100);
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn rejects_are_listed_and_stay_in_the_queue() {
    let rig = Rig::new();
    rig.send_logins(20);
    rig.source.send("{");
    rig.source.send(r#"{"foo": 1}"#);
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!(summary.inserted, 20);
    assert_eq!(summary.left_in_queue, 2, "different messages, however often they came back");
    assert_eq!(summary.quarantined, 0);
    assert_eq!(summary.unsettled(), 0);
    assert_eq!(rig.source.left(), 2);
    assert_eq!(rig.sink.quarantine().len(), 2);
    let rejected = |reason| summary.rejected.iter().find(|(r, _)| *r == reason).map(|(_, n)| *n).unwrap();
    assert!(rejected(RejectReason::InvalidJson) >= 1 && rejected(RejectReason::MissingField) >= 1);
}

#[tokio::test(start_paused = true)]
async fn sealed_rejects_are_deleted_from_the_queue() {
    let rig = Rig::new().with_sealer();
    rig.send_logins(5);
    rig.source.send("{");
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.inserted, summary.quarantined, summary.left_in_queue), (5, 1, 0));
    assert_eq!((summary.returned, summary.unsettled()), (0, 0));
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_producers_key_makes_two_sends_one_row() {
    let rig = Rig::new();
    for _ in 0..3 {
        rig.source.send_with(login(7), Outgoing { key: Some("event-7".into()), ..Outgoing::default() });
    }
    let summary = rig.run_until_empty().await.unwrap();
    assert_eq!((summary.inserted, summary.duplicates), (1, 2));
    assert_eq!(rig.sink.rows()[0].key.as_str(), "event-7");
}

#[tokio::test(start_paused = true)]
async fn a_batch_gathers_while_a_write_is_under_way() {
    let rig = Rig::with(PipelineConfig { writers: 1, ..PipelineConfig::default() });
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(1_000);
    let running = rig.start_until_empty();
    gate.reached(1).await;
    // All that is left gathers while the first write stands at the gate.
    rig.wait_for_in_flight(1_000).await;
    gate.open();
    running.await.unwrap().unwrap();
    let rows: Vec<_> = rig.sink.writes().iter().map(|size| size.rows).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows.iter().sum::<usize>(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn no_batch_exceeds_its_caps() {
    let bytes = login(0).len();
    for (max_batch_rows, max_batch_bytes, most) in [(7, 1 << 20, 7), (5_000, 4 * bytes, 4), (5_000, 1, 1)] {
        let rig = Rig::with(PipelineConfig { max_batch_rows, max_batch_bytes, ..PipelineConfig::default() });
        rig.send_logins(100);
        let summary = rig.run_until_empty().await.unwrap();
        assert_eq!(summary.inserted, 100);
        assert!(rig.sink.writes().iter().all(|size| size.rows <= most), "{:?}", rig.sink.writes());
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_max_in_flight_is_received_while_nothing_can_be_written() {
    let rig = Rig::with(PipelineConfig { max_in_flight: 95, writers: 1, ..PipelineConfig::default() });
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(500);
    let running = rig.start_until_empty();
    gate.reached(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let received = rig.stats().received.get();
    assert!((80..=95).contains(&received), "{received}");
    gate.open();
    assert_eq!(running.await.unwrap().unwrap().inserted, 500);
}

#[tokio::test(start_paused = true)]
async fn an_idle_pipeline_makes_one_long_poll_after_another() {
    let rig = Rig::new().with_wait(Duration::from_secs(20));
    rig.send_logins(300);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let busy = rig.stats().receives.get();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(rig.stats().receives.get() - busy, 5);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(rig.source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_long_poll_is_not_hammered() {
    let rig = Rig::new().with_wait(Duration::ZERO);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    tokio::time::sleep(Duration::from_secs(100)).await;
    let receives = rig.stats().receives.get();
    assert!((90..=300).contains(&receives), "{receives}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_writes_and_deletes_what_was_received() {
    let rig = Rig::new();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(200);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    gate.reached(1).await;
    stop.cancel();
    tokio::task::yield_now().await;
    gate.open();
    let summary = running.await.unwrap().unwrap();
    assert_eq!(summary.unsettled(), 0);
    assert_eq!(summary.returned, 0);
    assert_eq!(summary.inserted, summary.received);
    assert_eq!(rig.sink.len() + rig.source.left(), 200);
    assert_eq!(rig.invisible().await, 0);
}
