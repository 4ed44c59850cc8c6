//! What is found about the queue, the clock of its service among it.

use std::collections::BTreeSet;
use std::time::Duration;

use fetch_etl_local_sqs::QueueConfig;

use super::{DAY, Setup, good_queue, scripted_queue};

/// All that a queue tells that has nothing to be found.
const GOOD: &str = r#"{"VisibilityTimeout":"30","MessageRetentionPeriod":"345600","SqsManagedSseEnabled":"true",
    "RedrivePolicy":"{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:1:dead\",\"maxReceiveCount\":3}"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_dead_letter_queue() {
    let queue = QueueConfig::new("logins").managed_encryption(true);
    Setup::with_queue(queue).await.finds("queue-no-dead-letter");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_that_was_deleted() {
    let setup = Setup::new().await;
    let dead = format!(r#"{{"QueueUrl":"{}"}}"#, setup.server.queue_url("logins-dead"));
    crate::support::sqs_call(&setup.server.url(), "DeleteQueue", &dead);
    setup.finds("queue-dead-letter-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_that_forgets_as_soon_as_the_queue() {
    let mut setup = Setup::with_queue(good_queue().retention(14 * DAY)).await;
    let report = setup.finds("queue-dead-letter-retention");
    assert!(report.what("queue-dead-letter-retention").contains("logins-dead keeps messages for 14 days"));
    setup.set("ETL_SOURCE__QUEUE_URL", &setup.server.queue_url("logins-dead"));
    assert!(!setup.check().codes().contains("queue-dead-letter-retention"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_and_too_many_receives() {
    for (count, code) in [
        (1, Some("queue-max-receive-count-low")),
        (2, Some("queue-max-receive-count-low")),
        (3, None),
        (100, None),
        (101, Some("queue-max-receive-count-high")),
    ] {
        let setup = Setup::with_queue(good_queue().dead_letter("logins-dead", count)).await;
        let expected: BTreeSet<String> = code.into_iter().map(str::to_owned).collect();
        assert_eq!(setup.check().codes(), expected, "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_shorter_than_an_outage() {
    let setup = Setup::with_queue(good_queue().retention(Duration::from_secs(3_600))).await;
    assert_eq!(
        setup.finds("queue-retention-short").what("queue-retention-short"),
        "the queue keeps messages for 1 hour only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visibility_timeout_too_short_for_a_batch_or_too_long_for_a_restart() {
    for (seconds, code) in [(2, "queue-visibility-short"), (3_600, "queue-visibility-long")] {
        let timeout = Duration::from_secs(seconds);
        Setup::with_queue(good_queue().visibility_timeout(timeout)).await.finds(code);
        // The configuration's own counts.
        let mut setup = Setup::with_queue(good_queue().visibility_timeout(timeout)).await;
        setup.set("ETL_SOURCE__VISIBILITY_TIMEOUT_S", "30");
        assert_eq!(setup.check().exit, 0);
        // Ten times as many messages in hand take ten times as long to renew.
        setup.set("ETL_PIPELINE__MAX_IN_FLIGHT", "100000");
        let report = setup.finds("queue-visibility-short");
        let what = report.what("queue-visibility-short");
        assert!(what.contains("100000 in hand") && what.ends_with("need 250 seconds"), "{what}");
        let mut setup = Setup::new().await;
        setup.set("ETL_SOURCE__VISIBILITY_TIMEOUT_S", &seconds.to_string());
        setup.finds(code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_encryption_at_rest() {
    Setup::with_queue(good_queue().managed_encryption(false)).await.finds("queue-not-encrypted");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_clear_on_their_way() {
    let mut setup = Setup::new().await;
    // This machine, by a name that does not look like it.
    let url = setup.server.queue_url("logins").replace("127.0.0.1", "127.1");
    setup.set("ETL_SOURCE__QUEUE_URL", &url);
    setup.finds("queue-connection-in-clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_from_the_services() {
    let mut setup = Setup::new().await;
    for (date, words) in [
        ("Tue, 01 Jan 2019 00:00:00 GMT", "seconds ahead of"),
        ("Mon, 01 Jan 2120 00:00:00 GMT", "seconds behind"),
    ] {
        setup.set("ETL_SOURCE__QUEUE_URL", &scripted_queue(date, GOOD));
        let report = setup.check();
        assert_eq!(report.codes(), BTreeSet::from(["clock-differs-from-queue".to_owned()]));
        assert!(report.what("clock-differs-from-queue").contains(words));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_queue_that_may_not_be_asked_for_is_not_checked() {
    let mut setup = Setup::new().await;
    setup.set("ETL_SOURCE__QUEUE_URL", &scripted_queue("yesterday", GOOD));
    let report = setup.check();
    assert_eq!((report.exit, report.codes().len()), (3, 0), "{:#}", report.json);
    let why = report.entries("not_checked")[0]["why"].as_str().unwrap();
    assert!(why.contains("allow sqs:GetQueueUrl and sqs:GetQueueAttributes on it"), "{why}");
}
