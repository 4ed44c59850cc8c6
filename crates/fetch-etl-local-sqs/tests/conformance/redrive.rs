use aws_sdk_sqs::types::{Message, MessageSystemAttributeName as System, QueueAttributeName as Name};

use super::subject::{Queue, Subject, equal, refused, system};
use super::{Difference, Verdict};

fn policy(arn: &str, max_receive_count: u32) -> String {
    format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{max_receive_count}"}}"#)
}

/// A message that was received once too often: its queue, what the first receive brought, and what came of it.
async fn moved(subject: &Subject) -> Result<(Queue, Message, Message), Difference> {
    let dead = subject.queue(&[]).await?;
    let policy = policy(&dead.attribute(Name::QueueArn).await?, 2);
    let queue = subject.queue(&[(Name::VisibilityTimeout, "0"), (Name::RedrivePolicy, &policy)]).await?;
    queue.send("poison").await?;
    let first = queue.receive_one().await?;
    queue.receive_one().await?;
    equal("messages after the last receive", queue.receive(0).await?.len(), 0)?;
    Ok((queue, first, dead.receive_one().await?))
}

/// SetQueueAttributes, `RedrivePolicy`: "When the ReceiveCount for a message exceeds the maxReceiveCount for a queue,
/// Amazon SQS moves the message to the dead-letter-queue." Developer Guide: it keeps its id and its enqueue timestamp.
pub(super) async fn a_message_moves_after_its_last_receive_with_its_id_and_time(subject: Subject) -> Verdict {
    let (_, first, dead) = moved(&subject).await?;
    equal("id", dead.message_id(), first.message_id())?;
    equal("sent at", system(&dead, System::SentTimestamp), system(&first, System::SentTimestamp))
}

/// ReceiveMessage, `DeadLetterQueueSourceArn`: the queue that a message of a dead-letter queue comes from.
pub(super) async fn a_moved_message_names_its_source(subject: Subject) -> Verdict {
    let (queue, first, dead) = moved(&subject).await?;
    let arn = queue.attribute(Name::QueueArn).await?;
    equal("source", system(&dead, System::DeadLetterQueueSourceArn), arn.as_str())?;
    equal("source before it was moved", system(&first, System::DeadLetterQueueSourceArn), "")
}

/// SetQueueAttributes, `RedrivePolicy`: the target must exist.
pub(super) async fn a_dead_letter_queue_must_exist(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let arn = queue.attribute(Name::QueueArn).await?.replace(&*queue.name, "nowhere");
    let set = subject.client.set_queue_attributes().queue_url(&queue.url);
    let set = set.attributes(Name::RedrivePolicy, policy(&arn, 2)).send().await;
    refused("nowhere", set, &["InvalidParameterValue", "AWS.SimpleQueueService.NonExistentQueue"])
}
