//! kill -9 in the middle, and a restart: nothing is lost and nothing is doubled.

use fetch_etl_harness::{Masking, Opinion, rows};

use super::support::{Stage, ids, logins};

#[tokio::test]
async fn kill_9_in_the_middle_loses_and_doubles_nothing() {
    const MESSAGES: usize = 6_000;
    let stage = Stage::new(Masking::keyed(), 2).await;
    let sent = stage.queue.send(logins(MESSAGES)).await;
    // Small batches, so that there is a middle.
    let slow = ["--set", "pipeline.max_batch_rows=50", "--set", "pipeline.max_in_flight=500"];
    for part in 1..=4 {
        let worker = stage.worker(&slow);
        stage.wait_for_rows(part * 1_000).await;
        worker.kill();
    }
    stage.drain().await;
    let stored = rows(&mut stage.database.connect().await).await;
    let stored_ids: Vec<_> = stored.iter().filter_map(|row| row.message_id.as_deref()).collect();
    assert_eq!(stored.len(), MESSAGES, "exactly one row each");
    assert!(stored_ids.into_iter().eq(ids(&sent)), "and for exactly the messages that were sent");
    if let Some(opinion) = Opinion::ask(&stage.masking, &sent) {
        opinion.assert_rows(&stored);
    }
}
