//! Postgres away for several visibility timeouts: leases are kept, receiving pauses, and no good message uses up its deliveries.

use std::time::Duration;

use fetch_etl_harness::{LocalQueue, Masking, Running, rejects};
use fetch_etl_testing::proxy::PgProxy;

use super::account::{Account, events, wait_for_figures};
use super::support::{Stage, logins};

const MESSAGES: u64 = 1_500;
/// Long enough for a machine that is busy with other tests to renew leases in time.
const VISIBILITY_S: u32 = 4;
const DEAD: &str = "dead";

/// Three visibility timeouts. This is how long the outage is, not how long something is waited for.
const OUTAGE: Duration = Duration::from_secs(3 * VISIBILITY_S as u64);

struct Outage {
    stage: Stage,
    proxy: PgProxy,
    worker: Running,
}

impl Outage {
    /// A worker in the middle of its messages, on a queue that takes them away after two deliveries.
    async fn under_load() -> Self {
        let dead_letter = format!("{}={DEAD},max-receive-count=2", LocalQueue::NAME);
        let queue = LocalQueue::start(VISIBILITY_S, &["--dead-letter", &dead_letter]);
        let stage = Stage::with_queue(Masking::Sha512, queue).await;
        stage.queue.send(logins(MESSAGES as usize)).await;
        let proxy = PgProxy::in_front_of(stage.database.url()).await.expect("the proxy starts");
        let through = proxy.url_for(stage.database.url()).expect("a TCP address");
        let limits = ["--set", "pipeline.max_batch_rows=20", "--set", "pipeline.max_in_flight=300"];
        let worker = stage.worker_on(&through, &limits);
        stage.wait_for_rows(200).await;
        Self { stage, proxy, worker }
    }

    async fn deliveries(&self) -> u64 {
        self.stage.queue.figures(LocalQueue::NAME).await["deliveries"].as_u64().expect("a number")
    }

    /// Everything is stored once and each message was delivered once.
    async fn end(self) -> (Account, Vec<serde_json::Value>) {
        let Self { stage, proxy: _proxy, worker } = self;
        let worker = wait_for_figures(&stage.queue, worker, |figures| figures["deleted"] == MESSAGES).await;
        worker.signal("TERM");
        let ended = worker.wait();
        ended.assert_code(0);
        let account = Account::of(&ended);
        assert_eq!((account.returned, account.leases_lost, account.in_flight), (0, 0, 0), "{account:?}");
        assert_eq!(stage.count_rows().await, MESSAGES, "each message is one row");
        assert!(rejects(&mut stage.database.connect().await).await.is_empty());
        let main = stage.queue.figures(LocalQueue::NAME).await;
        assert_eq!(main["deliveries"], MESSAGES, "no message was delivered a second time: {main}");
        let dead = stage.queue.figures(DEAD).await;
        assert_eq!((&dead["moved-in"], &dead["sent"]), (&0.into(), &0.into()), "{dead}");
        (account, events(&ended, "sink_unavailable"))
    }
}

// The proxy goes on while the test waits for a process.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_of_several_visibility_timeouts_costs_no_delivery() {
    let outage = Outage::under_load().await;
    outage.proxy.stall();
    outage.proxy.until(|stats| stats.stalled > 0).await;
    tokio::time::sleep(OUTAGE).await;
    assert!(outage.stage.count_rows().await < MESSAGES, "it stalled in the middle");
    outage.proxy.release();
    let (account, _) = outage.end().await;
    assert_eq!((account.inserted, account.duplicates), (MESSAGES, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_connections_are_refused_receiving_stops_and_no_message_becomes_a_dead_letter() {
    let outage = Outage::under_load().await;
    outage.proxy.refuse(true);
    outage.proxy.reset_all();
    // Both writers have tried again: the breaker is open.
    outage.proxy.until(|stats| stats.injected.refused >= 4).await;
    let before = outage.deliveries().await;
    tokio::time::sleep(OUTAGE).await;
    assert_eq!(outage.deliveries().await, before, "nothing is received while nothing can be written");
    assert!(before < MESSAGES, "it was cut off in the middle");
    outage.proxy.refuse(false);
    let (account, unavailable) = outage.end().await;
    assert_eq!(account.inserted + account.duplicates, MESSAGES);
    assert_eq!(unavailable.len(), 1, "it is said once");
}
