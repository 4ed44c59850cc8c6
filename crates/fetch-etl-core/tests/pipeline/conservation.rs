//! received = inserted + duplicates + quarantined + returned + in flight: at every exit, and for whoever looks meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig, PipelineError, Summary};
use fetch_etl_core::{
    Decoded, ErrorClass, EventSchema, KeyId, MaskedValue, Masker, Pii, Reject, SinkError, SourceError,
};
use fetch_etl_testing::{FakeMasker, Fault, InMemorySink, InMemorySource, SourceOp};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::support::{Rig, login};

fn assert_balanced(summary: &Summary) {
    assert_eq!(summary.unaccounted(), 0, "{summary}");
    assert!(summary.in_flight >= 0, "{summary}");
}

fn panicked(error: &PipelineError) {
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_balanced(&error.summary);
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_panics_costs_no_message_its_way_back() {
    let rig = Rig::new();
    rig.send_logins(200);
    rig.sink.next(Fault::Panic);
    let error = rig.run_until_empty().await.unwrap_err();
    panicked(&error);
    assert_eq!(error.summary.in_flight, 0, "{}", error.summary);
    assert_eq!(rig.sink.len() + rig.source.left(), 200);
    assert_eq!(rig.invisible().await, 0);
    assert!(rig.sink.quarantine().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_while_it_extends_ends_the_pipeline_and_not_its_caller() {
    let rig = Rig::new();
    rig.send_logins(50);
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "down")));
    rig.source.next(SourceOp::Extend, Fault::Panic);
    let error = rig.run_until_empty().await.unwrap_err();
    panicked(&error);
    assert_eq!((error.summary.in_flight, error.summary.returned), (0, error.summary.received));
    assert_eq!((rig.source.left(), rig.invisible().await), (50, 0));
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_panics_does_not_cut_the_others_off() {
    let rig = Rig::new().with_wait(Duration::from_secs(20));
    rig.send_logins(500);
    let running = rig.start(CancellationToken::new());
    sleep(Duration::from_secs(5)).await;
    // Of the receivers that wait, one panics at its next receive, and another one has just been handed messages.
    rig.source.next(SourceOp::Receive, Fault::Panic);
    sleep(Duration::from_secs(20)).await;
    rig.send_logins(10);
    let error = running.await.unwrap().unwrap_err();
    panicked(&error);
    assert_eq!(error.summary.in_flight, 0, "{}", error.summary);
    assert_eq!(rig.sink.len() + rig.source.left(), 510);
    assert_eq!(rig.invisible().await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_part_held_when_it_panicked_stays_in_flight() {
    let rig = Rig::new();
    rig.send_logins(10);
    rig.source.next(SourceOp::Ack, Fault::Panic);
    let error = rig.run_until_empty().await.unwrap_err();
    panicked(&error);
    assert_eq!((error.summary.inserted, error.summary.in_flight), (10, 0), "the rows are stored");

    let rig = Rig::new();
    (0..3).for_each(|_| drop(rig.source.send("{")));
    rig.source.next(SourceOp::Nack, Fault::Panic);
    let error = rig.run_until_empty().await.unwrap_err();
    panicked(&error);
    assert_eq!((error.summary.returned, error.summary.in_flight), (0, 3));
}

/// Panics over the login of one user.
struct PanicsOver(&'static str);

impl EventSchema for PanicsOver {
    type Row = LoginRow;
    fn decode_and_mask(&self, body: &Pii<[u8]>, masker: &dyn Masker) -> Result<Decoded<LoginRow>, Reject> {
        assert!(!String::from_utf8_lossy(body.expose()).contains(self.0), "a scripted panic");
        LoginSchema.decode_and_mask(body, masker)
    }
}

/// Panics at one value.
struct PanicsAt(&'static str);

impl Masker for PanicsAt {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        assert!(value.expose() != self.0, "a scripted panic");
        FakeMasker.mask(field, value)
    }
    fn key_id(&self) -> KeyId {
        FakeMasker::KEY_ID
    }
}

async fn run_with<S>(schema: S, masker: Arc<dyn Masker>) -> (PipelineError, usize)
where
    S: EventSchema<Row = LoginRow> + 'static,
{
    let (source, sink) = (Arc::new(InMemorySource::new()), Arc::new(InMemorySink::new()));
    (0..95).for_each(|n| drop(source.send(login(n))));
    let pipeline = Pipeline::new(PipelineConfig::default(), source.clone(), schema, masker, sink.clone());
    let error = pipeline.run(CancellationToken::new()).await.unwrap_err();
    assert_eq!(sink.len() + source.left(), 95);
    (error, sink.len())
}

#[tokio::test(start_paused = true)]
async fn a_schema_or_a_masker_that_panics_keeps_one_receive_and_no_more() {
    for (error, rows) in [
        run_with(PanicsOver("\"u-42\""), Arc::new(FakeMasker)).await,
        run_with(LoginSchema, Arc::new(PanicsAt("192.0.2.42"))).await,
    ] {
        panicked(&error);
        assert_eq!(error.summary.in_flight, 10, "{}", error.summary);
        assert_eq!(error.summary.inserted, rows as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_is_over_leaves_the_rest_in_flight() {
    let config = PipelineConfig { shutdown_grace: Duration::from_secs(5), ..PipelineConfig::default() };
    let rig = Rig::with(config);
    let gate = fetch_etl_testing::Gate::closed();
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "down")));
    // Ten messages come with a receive, so that is one call for each ten; all hang.
    (0..20).for_each(|_| rig.source.next(SourceOp::Nack, Fault::Stall(gate.clone())));
    rig.send_logins(100);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    rig.wait_for_in_flight(10).await;
    stop.cancel();
    let summary = running.await.unwrap().unwrap();
    assert_balanced(&summary);
    assert_eq!((summary.inserted, summary.returned), (0, 0));
    assert_eq!(summary.in_flight.unsigned_abs(), summary.received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_looks_while_it_runs_sees_the_sum() {
    let rig = Rig::with(PipelineConfig { max_batch_rows: 20, max_in_flight: 500, ..Default::default() })
        .with_sealer();
    rig.send_logins(10_000);
    (0..200).for_each(|_| drop(rig.source.send("{")));
    rig.source.deliver_twice(500);
    let running = rig.start_until_empty();
    let (stats, done) = (rig.stats(), Arc::new(AtomicBool::new(false)));
    let observers: Vec<_> = (0..2)
        .map(|_| {
            let (stats, done) = (stats.clone(), done.clone());
            std::thread::spawn(move || {
                let (mut looks, mut busy) = (0_u64, 0_u64);
                while !done.load(Relaxed) {
                    let summary = stats.summary();
                    assert_balanced(&summary);
                    assert!(summary.in_flight <= 500, "{summary}");
                    looks += 1;
                    busy += u64::from(summary.in_flight > 0);
                }
                (looks, busy)
            })
        })
        .collect();
    let summary = running.await.unwrap().unwrap();
    done.store(true, Relaxed);
    for observer in observers {
        let (looks, busy) = observer.join().unwrap();
        assert!(looks > 0 && busy > 0, "{looks} looks, {busy} of them with messages in flight");
    }
    assert_balanced(&summary);
    assert_eq!((summary.inserted, summary.quarantined, summary.in_flight), (10_000, 200, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_is_held_for_twelve_hours_and_then_left_to_the_queue() {
    let hours = |n: u64| Duration::from_secs(n * 3_600);
    let rig = Rig::new();
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "down")));
    rig.send_logins(10);
    let running = rig.start(CancellationToken::new());
    let stats = rig.stats();
    sleep(hours(12) - Duration::from_secs(30)).await;
    assert_eq!((stats.summary().leases_lost, stats.in_flight(), stats.received.get()), (0, 10, 10));
    assert_eq!(rig.invisible().await, 10);
    sleep(Duration::from_secs(60)).await;
    let summary = stats.summary();
    assert_balanced(&summary);
    assert_eq!((summary.leases_lost, summary.returned), (10, 10), "the queue may hand them to somebody else");
    assert_eq!((summary.received, summary.in_flight), (20, 10), "which is us, and once only");
    // Once the sink is back, they come a second time, and become one row each.
    rig.sink.set_outage(None);
    sleep(Duration::from_secs(60)).await;
    let summary = stats.summary();
    assert_eq!((summary.received, summary.inserted, rig.sink.len()), (20, 10, 10));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stop_gives_nothing_back_that_somebody_else_has() {
    let rig = Rig::new();
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "down")));
    rig.source.set_outage(SourceOp::Extend, Some(SourceError::retryable("cannot connect")));
    rig.send_logins(10);
    let stop = CancellationToken::new();
    let running = rig.start(stop.clone());
    sleep(Duration::from_secs(29)).await;
    assert_eq!(rig.stats().in_flight(), 10);
    stop.cancel();
    // The leases run out within the grace, before anything is given back.
    let summary = running.await.unwrap().unwrap();
    assert_balanced(&summary);
    assert_eq!((summary.returned, summary.leases_lost, summary.in_flight), (10, 10, 0));
}
