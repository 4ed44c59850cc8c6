//! Who is alive, and who is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{ErrorClass, KeyId, MaskPolicy, PolicyInForce, PolicyStore, SinkError, SourceError};
use fetch_etl_telemetry::{Live, Part, Phase, Ready, watch_sink};
use fetch_etl_testing::{Fault, Gate, SourceOp};
use tokio::time::sleep;

use crate::support::{Rig, login};

fn ready(rig: &Rig) -> Vec<Part> {
    let Ready { ready, not_ready } = rig.telemetry.health().ready();
    assert_eq!(ready, not_ready.is_empty());
    not_ready
}

fn live(rig: &Rig) -> Live {
    rig.telemetry.health().live()
}

fn alive(phase: Phase) -> Live {
    Live { live: true, phase, stuck: None }
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_ready_once_everything_is_in_order_and_alive_before() {
    let rig = Rig::new();
    assert_eq!(ready(&rig), [Part::Source, Part::Sink, Part::Policy, Part::Pipeline]);
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(live(&rig), alive(Phase::Starting), "it waits for the database");
    let health = rig.telemetry.health();
    health.sink_answers(true);
    assert_eq!(ready(&rig), [Part::Source, Part::Policy, Part::Pipeline]);
    health.source_answers();
    health.policy_accepted(true);
    assert_eq!(ready(&rig), [Part::Pipeline]);
    health.running();
    assert_eq!(ready(&rig), []);
    health.policy_accepted(false);
    assert_eq!(ready(&rig), [Part::Policy]);
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_stop_is_alive_but_not_ready_and_who_has_ended_is_neither() {
    let rig = Rig::new().in_order();
    rig.stop.cancel();
    assert_eq!((live(&rig), ready(&rig)), (alive(Phase::Stopping), vec![Part::Pipeline]));
    rig.telemetry.health().stopped();
    assert_eq!(live(&rig), Live { live: false, phase: Phase::Stopped, stuck: None });
    assert_eq!(ready(&rig), [Part::Pipeline]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_database_opens_the_breaker_and_kills_nobody() {
    let rig = Rig::new().in_order();
    rig.sink.set_outage(Some(SinkError::new(ErrorClass::Retryable, "down")));
    rig.send(&[&login("u-1")]);
    let running = rig.start();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!((live(&rig), ready(&rig)), (alive(Phase::Running), vec![Part::Breaker]));
    assert_eq!(rig.scrape().get("etl_breaker_open"), 1.0);
    assert_eq!(rig.scrape().get("etl_ready{part=\"breaker\"}"), 0.0);
    rig.sink.set_outage(None);
    rig.settled(1).await;
    assert_eq!(ready(&rig), []);
    assert_eq!(rig.scrape().get("etl_ready{part=\"breaker\"}"), 1.0);
    rig.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_queue_is_not_ready_and_an_idle_worker_is_alive() {
    let rig = Rig::new().in_order();
    let running = rig.start();
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!((live(&rig), ready(&rig)), (alive(Phase::Running), vec![]));
    rig.source.set_outage(SourceOp::Receive, Some(SourceError::retryable("cannot connect")));
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!((live(&rig), ready(&rig)), (alive(Phase::Running), vec![Part::Source]));
    rig.stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_the_end() {
    let rig = Rig::new().in_order();
    let gate = Gate::closed();
    rig.sink.next(Fault::Stall(gate.clone()));
    rig.send(&[&login("u-1")]);
    let running = rig.start();
    gate.reached(1).await;
    sleep(Duration::from_secs(290)).await;
    assert_eq!(live(&rig), alive(Phase::Running), "slow is not dead");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(live(&rig), Live { live: false, phase: Phase::Running, stuck: Some("write") });
    gate.open();
    rig.settled(1).await;
    assert_eq!(live(&rig), alive(Phase::Running));
    rig.stop.cancel();
    running.await.unwrap().unwrap();
}

/// A database of which only one question is asked.
#[derive(Default)]
struct Policies {
    fails: AtomicBool,
    hangs: AtomicBool,
}

#[async_trait]
impl PolicyStore for Policies {
    async fn policy_in_force(&self) -> Result<Option<PolicyInForce>, SinkError> {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(SeqCst) {
            return Err(SinkError::new(ErrorClass::Retryable, "down"));
        }
        let policy = MaskPolicy {
            methods: String::new(),
            key_id: KeyId::new(2),
            key_check: String::new(),
            domain: String::new(),
            canonical_version: 1,
        };
        Ok(Some(PolicyInForce { version: 5, policy }))
    }
    async fn put_in_force(&self, _: &MaskPolicy, _: Option<i64>) -> Result<Option<PolicyInForce>, SinkError> {
        unreachable!("a look changes nothing")
    }
    async fn key_ids_in_use(&self) -> Result<Vec<Option<KeyId>>, SinkError> {
        unreachable!("a look reads no table")
    }
    fn hold_to(&self, _: i64) {
        unreachable!("a look changes nothing")
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_notices_that_the_database_is_gone() {
    let rig = Rig::new().in_order();
    let policies = Arc::new(Policies::default());
    let _watching = watch_sink(rig.telemetry.clone(), policies.clone());
    sleep(Duration::from_secs(6)).await;
    assert_eq!(ready(&rig), []);
    let policy = "etl_mask_policy_info{version=\"5\",key_id=\"2\",canonical_version=\"1\"}";
    assert_eq!(rig.scrape().get(policy), 1.0);
    for state in [&policies.fails, &policies.hangs] {
        state.store(true, SeqCst);
        sleep(Duration::from_secs(11)).await;
        assert_eq!(ready(&rig), [Part::Sink]);
        state.store(false, SeqCst);
        sleep(Duration::from_secs(11)).await;
        assert_eq!(ready(&rig), []);
    }
}
