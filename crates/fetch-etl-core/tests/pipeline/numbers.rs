//! The numbers that a pipeline gives to whoever watches it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fetch_etl_core::pipeline::{EndedBatch, Observer, Operation, PipelineConfig, ReturnCause};
use fetch_etl_core::{ErrorClass, RejectReason, SinkError, SourceError, TraceParent, UnixMillis};
use fetch_etl_testing::{Fault, Gate, Outgoing, SourceOp, SourceSettings};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::support::{Rig, login};

fn one_writer() -> Rig {
    Rig::with(PipelineConfig { writers: 1, ..PipelineConfig::default() })
}

#[tokio::test(start_paused = true)]
async fn batches_and_commits_are_measured_once_each() {
    let rig = one_writer();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(1_000);
    let running = rig.start_until_empty();
    gate.reached(1).await;
    rig.wait_for_in_flight(1_000).await;
    sleep(Duration::from_secs(2)).await;
    gate.open();
    let summary = running.await.unwrap().unwrap();
    let (rows, batches, commits) =
        (rig.stats().batch_rows(), rig.stats().batch_micros(), rig.stats().commit_micros());
    assert_eq!((rows.sum, summary.inserted), (1_000, 1_000));
    assert_eq!((rows.count(), batches.count()), (commits.count(), commits.count()));
    assert_eq!(commits.count(), rig.stats().writes.get());
    for times in [batches, commits] {
        assert!(times.sum >= 2_000_000, "the first write took two seconds: {times:?}");
        let over_a_second =
            times.buckets.iter().filter(|(bound, _)| bound.is_none_or(|bound| bound > 1_000_000));
        assert_eq!(over_a_second.map(|(_, count)| count).sum::<u64>(), 1, "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_the_longest_one_and_who_waits_for_messages_makes_none() {
    let rig = one_writer().with_wait(Duration::from_secs(20));
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send_logins(1);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    gate.reached(1).await;
    sleep(Duration::from_secs(1_000)).await;
    let (operation, time) = rig.stats().longest_call().unwrap();
    assert_eq!(operation, Operation::Write);
    assert!(time >= Duration::from_secs(1_000), "{time:?}");
    gate.open();
    sleep(Duration::from_secs(1_000)).await;
    // Nothing but long polls from now on.
    let (operation, time) = rig.stats().longest_call().unwrap();
    assert!(operation == Operation::Receive && time <= Duration::from_secs(20), "{operation:?} {time:?}");
    let before = rig.stats().activity();
    sleep(Duration::from_secs(60)).await;
    assert_ne!(rig.stats().activity(), before, "an idle pipeline receives");
    assert_eq!(rig.stats().receivers(), 1);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!((rig.stats().receivers(), rig.stats().longest_call()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_message_in_flight_is_told_until_its_outcome_is_known() {
    let rig = one_writer();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    let sent: Vec<_> = [3_000, 1_000, 2_000].map(UnixMillis::new).into();
    for (n, sent_at) in sent.iter().enumerate() {
        rig.source.send_with(login(n), Outgoing { sent_at: Some(*sent_at), ..Outgoing::default() });
    }
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    assert_eq!(rig.stats().oldest_in_flight(), None);
    gate.reached(1).await;
    rig.wait_for_in_flight(3).await;
    assert_eq!(rig.stats().oldest_in_flight(), Some(sent[1]));
    gate.open();
    while rig.stats().acked.get() < 3 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(rig.stats().oldest_in_flight(), None);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_and_tries_are_counted_by_operation_and_class() {
    use ErrorClass::{BadRow, Fatal, Retryable};
    let rig = one_writer().with_sealer();
    let down = || SinkError::new(Retryable, "the sink is down");
    rig.sink.next(Fault::Fail(down()));
    rig.sink.next(Fault::Fail(down()));
    rig.send_logins(2);
    let bad = rig.source.left_ids()[0].clone();
    rig.sink.refuse_key(&bad);
    rig.source.next(SourceOp::Receive, Fault::Fail(SourceError::retryable("cannot connect")));
    rig.source.next(SourceOp::Ack, Fault::Fail(SourceError::fatal("access denied")));
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    while rig.stats().acked.get() + rig.stats().ack_failures.get() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let stats = rig.stats();
    let failed = |operation, class| (stats.failures(operation, class), stats.retries(operation, class));
    assert_eq!(failed(Operation::Receive, Retryable), (1, 1));
    assert_eq!(failed(Operation::Write, Retryable), (2, 2));
    assert!(stats.retries(Operation::Write, BadRow) >= 1);
    assert_eq!(stats.failures(Operation::Write, BadRow), stats.retries(Operation::Write, BadRow));
    assert_eq!(failed(Operation::Ack, Fatal), (1, 0));
    assert_eq!(failed(Operation::Nack, Retryable), (0, 0));
    assert_eq!(stats.quarantined_for(RejectReason::RefusedBySink), 1);
    let quarantined: u64 = RejectReason::ALL.iter().map(|&reason| stats.quarantined_for(reason)).sum();
    assert_eq!(quarantined, stats.quarantined.get());
}

#[tokio::test(start_paused = true)]
async fn what_is_returned_is_returned_for_a_cause() {
    let rig = one_writer();
    rig.source.send("no login");
    rig.send_logins(10);
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "the sink is down")));
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    rig.wait_for_in_flight(11).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let causes = |rig: &Rig| ReturnCause::ALL.map(|cause| rig.stats().returned_for(cause));
    assert_eq!(causes(&rig), [0, 11, 0], "what was rejected was not written either");

    rig.sink.set_outage(None);
    rig.run_until_empty().await.unwrap();
    let [rejected, not_written, lost] = causes(&rig);
    assert!(rejected > 0 && (not_written, lost) == (0, 0), "{:?}", causes(&rig));
    assert_eq!(rejected, rig.stats().returned.get());
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_a_cause_too() {
    let lease = Duration::from_secs(4);
    let rig = one_writer().with_source(SourceSettings { lease, ..SourceSettings::default() });
    rig.source.set_outage(SourceOp::Extend, Some(SourceError::retryable("cannot connect")));
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "the sink is down")));
    rig.send_logins(1);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    while rig.stats().returned.get() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let stats = rig.stats();
    assert_eq!(stats.returned_for(ReturnCause::LeaseLost), stats.returned.get());
    assert!(stats.failures(Operation::Extend, ErrorClass::Retryable) > 0);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_shows_until_it_answers() {
    let rig = Rig::new().with_wait(Duration::from_secs(1));
    rig.source.set_outage(SourceOp::Receive, Some(SourceError::retryable("cannot connect")));
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    assert!(!rig.stats().source_is_down(), "nothing is known yet");
    sleep(Duration::from_secs(60)).await;
    assert!(rig.stats().source_is_down());
    rig.source.set_outage(SourceOp::Receive, None);
    sleep(Duration::from_secs(60)).await;
    assert!(!rig.stats().source_is_down());
    stop.cancel();
    running.await.unwrap().unwrap();
}

/// Keeps all that it is told.
#[derive(Default)]
struct Kept {
    batches: Mutex<Vec<EndedBatch>>,
    commits: Mutex<Vec<Duration>>,
}

impl Observer for Kept {
    fn batch_ended(&self, batch: &EndedBatch) {
        self.batches.lock().unwrap().push(batch.clone());
    }
    fn committed(&self, took: Duration) {
        self.commits.lock().unwrap().push(took);
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_each_batch_with_the_recorded_traces_of_its_messages() {
    let kept = Arc::new(Kept::default());
    let rig = one_writer().with_observer(kept.clone());
    let trace = |id, sampled| TraceParent::new([id; 16], [id; 8], sampled);
    for (n, trace) in
        [trace(1, true), trace(1, true), trace(2, false), None, trace(3, true)].into_iter().enumerate()
    {
        rig.source.send_with(login(n), Outgoing { trace, ..Outgoing::default() });
    }
    rig.source.send_with("no login", Outgoing { trace: trace(4, true), ..Outgoing::default() });
    rig.sink.next(Fault::Fail(SinkError::new(ErrorClass::Retryable, "the sink is down")));
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    while kept.batches.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    // What is in hand at a stop that the sink does not live to see goes back.
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "the sink is down")));
    rig.send_logins(1);
    rig.wait_for_in_flight(1).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    let batches = kept.batches.lock().unwrap().clone();
    let first = &batches[0];
    assert_eq!((first.messages, first.rejected, first.is_settled), (6, 1, true));
    assert_eq!(first.traces, [trace(1, true), trace(3, true), trace(4, true)].map(Option::unwrap));
    assert!(
        first.took >= Duration::from_millis(50),
        "the wait for the second try is in it: {:?}",
        first.took
    );
    let last = batches.last().unwrap();
    assert!(!last.is_settled && last.traces.is_empty(), "{last:?}");
    assert_eq!(kept.commits.lock().unwrap().len() as u64, rig.stats().commit_micros().count());
}
