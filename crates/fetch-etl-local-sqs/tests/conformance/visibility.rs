use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeName as System, QueueAttributeName as Name};

use super::Verdict;
use super::messages::comes_after;
use super::subject::{Subject, equal, receipt, refused, system, that};

const SECOND: Duration = Duration::from_secs(1);

/// Developer Guide, visibility timeout: the message "becomes visible again after the visibility timeout expires".
pub(super) async fn a_received_message_is_hidden_and_comes_again(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "1")]).await?;
    queue.send("a").await?;
    let started = Instant::now();
    let first = queue.receive_one().await?;
    let again = queue.receive_one().await?;
    comes_after(started, SECOND)?;
    equal("id", again.message_id(), first.message_id())?;
    that(receipt(&again) != receipt(&first), || "the receipt is the same".to_owned())?;
    equal("receive count", system(&again, System::ApproximateReceiveCount), "2")
}

/// ReceiveMessage, `VisibilityTimeout`: "If not specified, the default visibility timeout for the queue is used".
pub(super) async fn a_receive_can_have_a_visibility_timeout_of_its_own(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "43200")]).await?;
    queue.send("a").await?;
    let started = Instant::now();
    let receive = subject.client.receive_message().queue_url(&queue.url).visibility_timeout(1);
    equal("messages", receive.send().await?.messages().len(), 1)?;
    queue.receive_one().await?;
    comes_after(started, SECOND)
}

/// Developer Guide: a visibility timeout of 0 makes a message "immediately visible to other consumers".
pub(super) async fn a_visibility_timeout_of_zero_hides_nothing(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    for time in 1..=2 {
        let receive = subject.client.receive_message().queue_url(&queue.url).visibility_timeout(0);
        let received = receive.wait_time_seconds(1).send().await?;
        equal(&format!("messages at receive {time}"), received.messages().len(), 1)?;
    }
    Ok(())
}

/// ChangeMessageVisibility: the new timeout begins "to count from the time that you make the ChangeMessageVisibility
/// call".
pub(super) async fn a_changed_visibility_counts_from_the_change(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "43200")]).await?;
    queue.send("a").await?;
    let first = queue.receive_one().await?;
    let changed = Instant::now();
    queue.change(receipt(&first), 2).await?;
    queue.receive_one().await?;
    comes_after(changed, 2 * SECOND)
}

/// Developer Guide, terminating the visibility timeout: "set the visibility timeout to 0".
pub(super) async fn giving_back_makes_visible_at_once(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "43200")]).await?;
    queue.send("a").await?;
    let first = queue.receive_one().await?;
    queue.change(receipt(&first), 0).await?;
    let again = queue.receive_one().await?;
    equal("id", again.message_id(), first.message_id())
}

/// ChangeMessageVisibility: "the total visibility timeout … maximum of 12 hours".
pub(super) async fn a_visibility_beyond_twelve_hours_is_refused(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    refused("12 h and a second", queue.change(receipt(&message), 43_201).await, &["InvalidParameterValue"])
}

/// DeleteMessage and ChangeMessageVisibility: "ReceiptHandleIsInvalid: The specified receipt handle isn't valid."
pub(super) async fn a_made_up_receipt_is_malformed(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let delete = subject.client.delete_message().queue_url(&queue.url).receipt_handle("made-up").send();
    refused("delete", delete.await, &["ReceiptHandleIsInvalid"])?;
    refused("change", queue.change("made-up", 5).await, &["ReceiptHandleIsInvalid"])
}

/// ChangeMessageVisibility is for messages in flight, which a deleted one is not. Which error it is remains open.
pub(super) async fn a_deleted_message_cannot_be_extended(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    queue.delete(receipt(&message)).await?;
    let codes = ["InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"];
    refused("change", queue.change(receipt(&message), 5).await, &codes)
}

/// ChangeMessageVisibility: "MessageNotInflight: The specified message isn't in flight."
pub(super) async fn a_visible_message_cannot_be_extended(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    queue.change(receipt(&message), 0).await?;
    let codes = ["MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"];
    refused("change", queue.change(receipt(&message), 5).await, &codes)
}

/// DeleteMessage of what is deleted already succeeds.
pub(super) async fn deleting_twice_succeeds(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    queue.delete(receipt(&message)).await?;
    queue.delete(receipt(&message)).await
}

/// DeleteMessage: "If you use an old ReceiptHandle, the request will succeed, but the message might not be deleted."
pub(super) async fn an_old_receipt_deletes_with_success(subject: Subject) -> Verdict {
    let queue = subject.queue(&[(Name::VisibilityTimeout, "0")]).await?;
    queue.send("a").await?;
    let old = queue.receive_one().await?;
    let latest = queue.receive_one().await?;
    that(receipt(&latest) != receipt(&old), || "the receipts are the same".to_owned())?;
    queue.delete(receipt(&old)).await
}

/// Developer Guide, long polling: it ends as soon as there is a message.
pub(super) async fn a_long_poll_wakes_for_a_message(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let started = Instant::now();
    let (received, sent) = tokio::join!(queue.receive_one(), queue.send("a"));
    sent?;
    received?;
    comes_after(started, Duration::ZERO)
}

/// ReceiveMessage, `WaitTimeSeconds`: "If no messages are available and the wait time expires, the call does not return
/// a message list."
pub(super) async fn a_long_poll_ends_empty_after_its_time(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let started = Instant::now();
    let received = subject.client.receive_message().queue_url(&queue.url).wait_time_seconds(1).send().await?;
    that(received.messages.is_none(), || "there is a list of messages".to_owned())?;
    comes_after(started, SECOND)
}

/// `ReceiveMessageWaitTimeSeconds` of the queue holds for receives that do not say, and only for those.
pub(super) async fn a_receive_waits_as_long_as_its_queue_says(subject: Subject) -> Verdict {
    let patient = subject.queue(&[(Name::ReceiveMessageWaitTimeSeconds, "20")]).await?;
    let started = Instant::now();
    patient.receive(0).await?;
    comes_after(started, Duration::ZERO)?;
    let queue = subject.queue(&[(Name::ReceiveMessageWaitTimeSeconds, "1")]).await?;
    let started = Instant::now();
    subject.client.receive_message().queue_url(&queue.url).send().await?;
    comes_after(started, SECOND)
}
