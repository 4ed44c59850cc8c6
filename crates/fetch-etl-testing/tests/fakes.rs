//! The faults of the fakes, each at the moment it is scripted for.

use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::{
    AckFailure, Batch, Committed, Delivery, ErrorClass, ExtendOutcome, Held, MessageSource, Pii, QueueDepth,
    Receipt, Returned, Sink, SinkError, SourceError, Staged, Stager, UnixMillis, WriteReport, write,
};
use fetch_etl_testing::sink_contract::{EventSource, LoginEvents};
use fetch_etl_testing::{
    BatchSize, FakeMasker, Fault, Gate, InMemorySink, InMemorySource, Outgoing, SourceOp, SourceSettings,
};

const LEASE: Duration = Duration::from_secs(30);

fn queue(count: usize) -> InMemorySource {
    let source = InMemorySource::new();
    (0..count).for_each(|n| drop(source.send(LoginEvents.body(n as u64))));
    source
}

async fn receive(source: &InMemorySource) -> Vec<Delivery> {
    source.receive(10).await.unwrap()
}

async fn ids(source: &InMemorySource) -> Vec<String> {
    receive(source).await.iter().map(|delivery| delivery.id.to_string()).collect()
}

fn stage(deliveries: Vec<Delivery>) -> Staged<LoginRow> {
    Stager::new(LoginSchema, Arc::new(FakeMasker)).stage(deliveries)
}

async fn committed(deliveries: Vec<Delivery>) -> Vec<Committed> {
    write(&InMemorySink::new(), stage(deliveries).batch).await.unwrap().committed
}

fn returned(deliveries: Vec<Delivery>) -> Vec<Returned> {
    stage(deliveries).batch.into_returned()
}

fn held(deliveries: Vec<Delivery>) -> Vec<Held> {
    stage(deliveries).held()
}

fn batch(count: u64) -> Batch<LoginRow> {
    let delivery = |n: u64| Delivery {
        id: format!("m-{n}").into(),
        key: None,
        attempt: 1,
        sent_at: Some(UnixMillis::new(0)),
        trace: None,
        body: Pii::new(LoginEvents.body(n).into_bytes()),
        receipt: Receipt::new(""),
    };
    stage((0..count).map(delivery).collect()).batch
}

fn busy() -> SourceError {
    SourceError::retryable("503")
}

fn cut() -> SinkError {
    SinkError::new(ErrorClass::Retryable, "connection cut")
}

#[tokio::test(start_paused = true)]
async fn a_fault_hits_one_call_and_an_outage_all() {
    let source = queue(1);
    source.next(SourceOp::Receive, Fault::Fail(busy()));
    source.next(SourceOp::Receive, Fault::Fail(SourceError::fatal("403")));
    assert_eq!(source.receive(10).await.unwrap_err().class(), ErrorClass::Retryable);
    assert_eq!(source.receive(10).await.unwrap_err().class(), ErrorClass::Fatal);
    source.set_outage(SourceOp::Receive, Some(busy()));
    for _ in 0..3 {
        assert!(source.receive(10).await.is_err());
    }
    assert!(source.depth().await.is_ok(), "the outage of another operation");
    source.set_outage(SourceOp::Receive, None);
    assert_eq!(receive(&source).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_receive_whose_answer_is_lost_leases_all_the_same() {
    let source = queue(1);
    source.next(SourceOp::Receive, Fault::DoneThenFail(busy()));
    assert!(source.receive(10).await.is_err());
    assert_eq!(receive(&source).await.len(), 0);
    tokio::time::advance(LEASE).await;
    assert_eq!(receive(&source).await[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn an_ack_that_is_done_and_then_fails_gives_all_back() {
    let source = queue(2);
    let tokens = committed(receive(&source).await).await;
    source.next(SourceOp::Ack, Fault::DoneThenFail(busy()));
    let AckFailure { unacked, .. } = source.ack(tokens).await.unwrap_err();
    assert_eq!((unacked.len(), source.left()), (2, 0));
    source.ack(unacked).await.unwrap();
    assert_eq!(source.deleted(), ["message-0", "message-1"]);
}

#[tokio::test(start_paused = true)]
async fn entries_of_an_ack_fail_one_by_one() {
    let source = queue(4);
    let tokens = committed(receive(&source).await).await;
    source.fail_entries_of_next_ack([1, 3], busy());
    let AckFailure { unacked, .. } = source.ack(tokens).await.unwrap_err();
    assert_eq!((unacked.len(), source.left_ids()), (2, vec!["message-1".to_owned(), "message-3".to_owned()]));
    source.ack(unacked).await.unwrap();
    assert_eq!(source.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_delivered_twice_comes_again_even_when_it_is_acked() {
    for acked_before in [false, true] {
        let source = queue(1);
        source.deliver_twice(1);
        let first = receive(&source).await;
        if acked_before {
            source.ack(committed(first).await).await.unwrap();
        }
        let second = receive(&source).await;
        assert_eq!(second[0].attempt, 2);
        source.ack(committed(second).await).await.unwrap();
        tokio::time::advance(2 * LEASE).await;
        assert_eq!((receive(&source).await.len(), source.left()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_holder_of_a_message_that_is_about_to_come_twice_cannot_know() {
    let source = queue(1);
    source.deliver_twice(1);
    let first = held(receive(&source).await);
    assert_eq!(source.extend(&first, LEASE).await.unwrap(), [ExtendOutcome::Extended]);
    assert_eq!(receive(&source).await.len(), 1);
    assert_eq!(source.extend(&first, LEASE).await.unwrap(), [ExtendOutcome::Lost]);
}

#[tokio::test(start_paused = true)]
async fn extend_and_nack_fail_before_or_after_the_effect() {
    let source = queue(1);
    let message = held(receive(&source).await);
    source.next(SourceOp::Extend, Fault::DoneThenFail(busy()));
    assert!(source.extend(&message, 3 * LEASE).await.is_err());
    tokio::time::advance(2 * LEASE).await;
    assert_eq!(receive(&source).await.len(), 0, "it was extended");
    tokio::time::advance(LEASE).await;

    source.next(SourceOp::Nack, Fault::Fail(busy()));
    assert!(source.nack(returned(receive(&source).await), Duration::ZERO).await.is_err());
    assert_eq!(receive(&source).await.len(), 0, "it was not given back");
    tokio::time::advance(LEASE).await;
    source.next(SourceOp::Nack, Fault::DoneThenFail(busy()));
    assert!(source.nack(returned(receive(&source).await), Duration::ZERO).await.is_err());
    assert_eq!(receive(&source).await.len(), 1, "it was given back");
}

#[tokio::test(start_paused = true)]
async fn no_delivery_is_held_longer_than_max_hold() {
    let settings = SourceSettings { max_hold: 2 * LEASE, ..SourceSettings::default() };
    let source = InMemorySource::with(settings);
    source.send("{}");
    let message = held(receive(&source).await);
    tokio::time::advance(LEASE - Duration::from_secs(1)).await;
    assert_eq!(source.extend(&message, 10 * LEASE).await.unwrap(), [ExtendOutcome::Extended]);
    tokio::time::advance(LEASE).await;
    assert_eq!(receive(&source).await.len(), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(source.extend(&message, LEASE).await.unwrap(), [ExtendOutcome::Lost]);
    assert_eq!(receive(&source).await[0].attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn depth_tells_visible_leased_and_delayed_messages_apart() {
    let source = queue(5);
    source.send_with("{}", Outgoing { delay: LEASE, ..Outgoing::default() });
    source.receive(2).await.unwrap();
    let expected = QueueDepth { visible: 3, in_flight: 2, delayed: 1 };
    assert_eq!(source.depth().await.unwrap(), Some(expected));
    tokio::time::advance(LEASE).await;
    assert_eq!(source.depth().await.unwrap(), Some(QueueDepth { visible: 6, ..QueueDepth::default() }));
    let silent = InMemorySource::with(SourceSettings { tells_depth: false, ..SourceSettings::default() });
    assert_eq!(silent.depth().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn an_outgoing_message_carries_key_and_time() {
    let source = queue(0);
    let outgoing =
        Outgoing { key: Some("event-1".into()), sent_at: Some(UnixMillis::new(7)), ..Outgoing::default() };
    source.send_with("{}", outgoing);
    source.send_with("{}", Outgoing { sent_at: None, ..Outgoing::default() });
    let seen = receive(&source).await;
    assert_eq!((seen[0].key.as_deref(), seen[0].sent_at), (Some("event-1"), Some(UnixMillis::new(7))));
    assert_eq!((seen[1].key.as_deref(), seen[1].sent_at), (None, None));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_limits_is_refused() {
    let source = InMemorySource::with(SourceSettings { max_batch: 2, ..SourceSettings::default() });
    (0..3).for_each(|_| drop(source.send("{}")));
    assert_eq!(source.receive(11).await.unwrap_err().class(), ErrorClass::Fatal);
    assert_eq!(source.receive(0).await.unwrap_err().class(), ErrorClass::Fatal);
    let messages = held(receive(&source).await);
    assert_eq!(source.extend(&messages, LEASE).await.unwrap_err().class(), ErrorClass::Fatal);
    tokio::time::advance(LEASE).await;
    assert!(source.nack(returned(receive(&source).await), Duration::ZERO).await.is_err());
    assert_eq!(ids(&source).await.len(), 0, "none of too many was given back");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_call_goes_on_when_the_gate_opens() {
    let (sink, gate) = (Arc::new(InMemorySink::new()), Gate::closed());
    sink.next(Fault::Stall(gate.clone()));
    let stalled = tokio::spawn({
        let sink = sink.clone();
        async move { sink.write(&batch(2)).await }
    });
    gate.reached(1).await;
    assert!(sink.is_empty() && !stalled.is_finished());
    assert_eq!(sink.write(&batch(1)).await.unwrap().inserted, 1, "the next write does not wait for it");
    gate.open();
    let report = stalled.await.unwrap().unwrap();
    assert_eq!(report, WriteReport { inserted: 1, duplicates: 1, quarantined: 0, erased: 0 });
}

#[tokio::test]
async fn a_sink_fails_before_or_after_writing() {
    let sink = InMemorySink::new();
    sink.next(Fault::Fail(cut()));
    sink.next(Fault::DoneThenFail(cut()));
    assert!(sink.write(&batch(3)).await.is_err());
    assert_eq!(sink.len(), 0);
    assert!(sink.write(&batch(3)).await.is_err());
    assert_eq!(sink.len(), 3);
    assert_eq!(sink.write(&batch(3)).await.unwrap().duplicates, 3);
    assert_eq!(sink.writes(), [BatchSize { rows: 3, rejects: 0 }; 3]);
}

#[tokio::test]
async fn a_sink_may_lie_once_and_panic_once() {
    let sink = Arc::new(InMemorySink::new());
    sink.misreport_next(WriteReport { inserted: 9, ..WriteReport::default() });
    assert_eq!(sink.write(&batch(1)).await.unwrap().inserted, 9);
    assert_eq!(sink.write(&batch(1)).await.unwrap().duplicates, 1);
    sink.next(Fault::Panic);
    let panicked = tokio::spawn({
        let sink = sink.clone();
        async move { sink.write(&batch(2)).await }
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_eq!(sink.write(&batch(2)).await.unwrap().inserted, 1, "the sink lives on");
}

#[tokio::test]
async fn bad_rows_are_refused_while_the_predicate_stands() {
    let sink = InMemorySink::new();
    sink.refuse_if(|row| row.key().as_str() == "m-1");
    assert_eq!(sink.write(&batch(2)).await.unwrap_err().class(), ErrorClass::BadRow);
    assert_eq!(sink.write(&batch(1)).await.unwrap().inserted, 1);
    sink.refuse_nothing();
    assert_eq!(sink.write(&batch(2)).await.unwrap().inserted, 1);
}

#[test]
fn neither_fake_shows_a_value_in_its_debug() {
    let source = InMemorySource::new();
    source.send("203.0.113.7");
    assert_eq!(format!("{source:?}"), "InMemorySource { left: 1, .. }");
    let sink = InMemorySink::<LoginRow>::new();
    assert_eq!(format!("{sink:?}"), "InMemorySink { rows: 0, quarantine: 0, writes: 0, .. }");
}
