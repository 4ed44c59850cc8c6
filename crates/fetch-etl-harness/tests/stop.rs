//! SIGTERM under load.

use fetch_etl_harness::Masking;

use super::support::{Stage, logins};

#[tokio::test]
async fn sigterm_stores_and_deletes_what_was_received_and_leaves_nothing_invisible() {
    const MESSAGES: u64 = 20_000;
    let stage = Stage::new(Masking::Sha512, 600).await;
    stage.queue.send(logins(MESSAGES as usize)).await;
    let worker =
        stage.worker(&["--set", "pipeline.max_batch_rows=100", "--set", "pipeline.max_in_flight=1000"]);
    stage.wait_for_rows(1_000).await;
    worker.signal("TERM");
    let ended = worker.wait();
    ended.assert_code(0);
    let (visible, invisible) = stage.queue.depth().await;
    assert_eq!(invisible, 0, "{}", ended.stderr);
    assert_eq!(stage.count_rows().await + visible, MESSAGES);
    assert!(visible > 0, "it was stopped in the middle");
    assert!(ended.stdout.contains("in flight 0"), "{}", ended.stdout);
}

#[tokio::test]
async fn two_workers_share_a_queue() {
    const MESSAGES: u64 = 4_000;
    let stage = Stage::new(Masking::Sha512, 30).await;
    stage.queue.send(logins(MESSAGES as usize)).await;
    // Both migrate the empty database at once, too.
    let workers = [stage.worker(&["--until-empty"]), stage.worker(&["--until-empty"])];
    for worker in workers {
        worker.wait().assert_code(0);
    }
    assert_eq!(stage.count_rows().await, MESSAGES);
    assert_eq!(stage.queue.depth().await, (0, 0));
}
