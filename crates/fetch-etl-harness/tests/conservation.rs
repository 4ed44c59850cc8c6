//! received = inserted + duplicates + quarantined + returned + in flight, at every way to end, and by the queue's and the
//! database's own count.

use fetch_etl_harness::{LocalQueue, Masking, rejects};
use fetch_etl_testing::proxy::PgProxy;

use super::account::{Account, events, wait_for_figures};
use super::support::{Stage, logins};

#[tokio::test]
async fn until_empty_with_rejects_and_repeats() {
    let queue = LocalQueue::start(30, &["--fault", "logins:redeliver-deleted=1x20"]);
    let stage = Stage::with_queue(Masking::Sha512, queue).await;
    stage.queue.send(logins(500)).await;
    stage.queue.send((0..7).map(|n| format!("{{\"broken\":{n}"))).await;
    let ended = stage.worker(&["--until-empty"]).wait();
    ended.assert_code(0);
    let account = Account::of(&ended);
    assert_eq!((account.inserted, account.duplicates), (500, 20));
    assert_eq!((account.quarantined, account.in_flight), (0, 0));
    assert_eq!(rejects(&mut stage.database.connect().await).await.len(), 7);
    let counted = stage.queue.figures(LocalQueue::NAME).await;
    assert_eq!(counted["deliveries"], account.received);
    assert_eq!(counted["deleted"], 520);
}

#[tokio::test]
async fn sigterm_under_load() {
    const MESSAGES: u64 = 10_000;
    let stage = Stage::new(Masking::Sha512, 600).await;
    stage.queue.send(logins(MESSAGES as usize)).await;
    let worker = stage.worker(&["--set", "pipeline.max_batch_rows=50"]);
    stage.wait_for_rows(500).await;
    worker.signal("TERM");
    let ended = worker.wait();
    ended.assert_code(0);
    let account = Account::of(&ended);
    assert_eq!((account.in_flight, account.leases_lost), (0, 0), "{account:?}");
    assert_eq!(account.inserted, stage.count_rows().await);
    let counted = stage.queue.figures(LocalQueue::NAME).await;
    assert_eq!((&counted["deliveries"], &counted["in-flight"]), (&account.received.into(), &0.into()));
    assert_eq!(counted["deleted"], account.inserted);
    assert_eq!(counted["ready"], MESSAGES - account.inserted);
}

/// How Postgres is away when the stop comes.
#[derive(Debug, Clone, Copy)]
enum Away {
    Stalled,
    Refused,
}

async fn sigterm_while(away: Away) {
    const MESSAGES: u64 = 400;
    let stage = Stage::new(Masking::Sha512, 600).await;
    let proxy = PgProxy::in_front_of(stage.database.url()).await.expect("the proxy starts");
    let through = proxy.url_for(stage.database.url()).expect("a TCP address");
    let worker = stage.worker_on(&through, &["--set", "pipeline.shutdown_grace_s=3"]);
    stage.queue.send(logins(50)).await;
    stage.wait_for_rows(50).await;
    let worker = wait_for_figures(&stage.queue, worker, |figures| figures["deleted"] == 50).await;
    match away {
        Away::Stalled => proxy.stall(),
        Away::Refused => {
            proxy.refuse(true);
            proxy.reset_all();
        }
    }
    stage.queue.send(logins(MESSAGES as usize)).await;
    let worker =
        wait_for_figures(&stage.queue, worker, |figures| figures["in-flight"].as_u64() > Some(0)).await;
    worker.signal("TERM");
    let ended = worker.wait();
    ended.assert_code(0);
    let account = Account::of(&ended);
    assert_eq!((account.inserted, account.duplicates, account.in_flight), (50, 0, 0), "{away:?}");
    assert_eq!(account.received, 50 + account.returned, "{away:?}");
    assert!(account.returned > 0, "{away:?}");
    assert_eq!(events(&ended, "shutdown_gives_back").len(), 1, "{away:?}: the grace was used up");
    assert_eq!(stage.queue.depth().await, (MESSAGES, 0), "{away:?}: all can be received at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_postgres_hangs() {
    sigterm_while(Away::Stalled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_postgres_refuses() {
    sigterm_while(Away::Refused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_under_a_worker_ends_it_with_all_it_had_received_stored() {
    let stage = Stage::new(Masking::Sha512, 600).await;
    let proxy = PgProxy::in_front_of(stage.database.url()).await.expect("the proxy starts");
    let through = proxy.url_for(stage.database.url()).expect("a TCP address");
    let worker = stage.worker_on(&through, &[]);
    stage.queue.send(logins(20)).await;
    let worker = wait_for_figures(&stage.queue, worker, |figures| figures["deleted"] == 20).await;
    // So that messages are in flight when the queue goes.
    proxy.stall();
    stage.queue.send(logins(40)).await;
    let worker = wait_for_figures(&stage.queue, worker, |figures| figures["deliveries"] == 60).await;
    stage.queue.client().delete_queue().queue_url(stage.queue.url()).send().await.expect("it is deleted");
    proxy.release();
    let ended = worker.wait();
    ended.assert_code(1);
    let account = Account::of(&ended);
    assert_eq!((account.received, account.inserted, account.in_flight), (60, 60, 0), "{account:?}");
    assert_eq!(stage.count_rows().await, 60);
    let [failed] = &events(&ended, "failed")[..] else { panic!("{}", ended.stderr) };
    let message = failed["message"].as_str().expect("a text");
    assert!(message.starts_with("cannot receive: "), "{message}");
    assert!(message.contains("does not exist") || message.contains("QueueDoesNotExist"), "{message}");
}
