use aws_sdk_sqs::error::SdkError;
use aws_sdk_sqs::operation::send_message_batch::{SendMessageBatchError, SendMessageBatchOutput};
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    SendMessageBatchRequestEntry,
};

use super::subject::{Queue, Subject, equal, receipt, refused};
use super::{Difference, Verdict};

type SentBatch = Result<SendMessageBatchOutput, SdkError<SendMessageBatchError>>;

/// A code of a batch, by the names of both protocols.
macro_rules! codes {
    ($code:literal) => {
        &[$code, concat!("AWS.SimpleQueueService.", $code)]
    };
}

async fn send(queue: &Queue, entries: &[(&str, &str)]) -> SentBatch {
    let entries = entries.iter().map(|(id, body)| {
        SendMessageBatchRequestEntry::builder().id(*id).message_body(*body).build().unwrap()
    });
    let request = queue.client.send_message_batch().queue_url(&queue.url);
    request.set_entries(Some(entries.collect())).send().await
}

fn failed(entries: &[BatchResultErrorEntry]) -> Vec<(&str, bool)> {
    entries.iter().map(|entry| (entry.id(), entry.sender_fault())).collect()
}

/// SendMessageBatch: "The result of sending each message is reported individually in the response."
pub(super) async fn a_batch_fails_by_entry(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let late =
        SendMessageBatchRequestEntry::builder().id("late").message_body("a").delay_seconds(901).build();
    let good = SendMessageBatchRequestEntry::builder().id("good").message_body("a").build();
    let request = queue.client.send_message_batch().queue_url(&queue.url).entries(late.unwrap());
    let sent = request.entries(good.unwrap()).send().await?;
    equal("failed", failed(sent.failed()), vec![("late", true)])?;
    equal("successful", sent.successful().iter().map(|entry| entry.id()).collect(), vec!["good"])
}

/// DeleteMessageBatch: "The result of the action on each message is reported individually in the response."
pub(super) async fn a_batch_of_deletes_fails_by_entry(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    let entry = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().unwrap()
    };
    let request = queue.client.delete_message_batch().queue_url(&queue.url);
    let entries = vec![entry("bad", "made-up"), entry("good", receipt(&message))];
    let deleted = request.set_entries(Some(entries)).send().await?;
    equal("failed", failed(deleted.failed()), vec![("bad", true)])?;
    equal("code", deleted.failed()[0].code(), "ReceiptHandleIsInvalid")?;
    equal("successful", deleted.successful().iter().map(|entry| entry.id()).collect(), vec!["good"])
}

/// ChangeMessageVisibilityBatch: "The result of the action on each message is reported individually in the response."
pub(super) async fn a_batch_of_changes_fails_by_entry(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    let entry = |id: &str, receipt: &str| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id).receipt_handle(receipt);
        entry.visibility_timeout(0).build().unwrap()
    };
    let request = queue.client.change_message_visibility_batch().queue_url(&queue.url);
    let entries = vec![entry("bad", "made-up"), entry("good", receipt(&message))];
    let changed = request.set_entries(Some(entries)).send().await?;
    equal("failed", failed(changed.failed()), vec![("bad", true)])?;
    equal("successful", changed.successful().iter().map(|entry| entry.id()).collect(), vec!["good"])?;
    queue.receive_one().await.map(drop)
}

/// "EmptyBatchRequest: The batch request doesn't contain any entries."
pub(super) async fn a_batch_has_entries(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    refused("none", send(&queue, &[]).await, codes!("EmptyBatchRequest"))?;
    let delete = queue.client.delete_message_batch().queue_url(&queue.url).set_entries(Some(vec![]));
    refused("none to delete", delete.send().await, codes!("EmptyBatchRequest"))
}

/// "TooManyEntriesInBatchRequest: The batch request contains more entries than permissible." (10)
pub(super) async fn a_batch_has_at_most_ten_entries(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let ids = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let entries = ids.map(|id| (id, "a"));
    refused("eleven", send(&queue, &entries).await, codes!("TooManyEntriesInBatchRequest"))?;
    equal("ten", send(&queue, &entries[..10]).await?.successful().len(), 10)
}

/// "BatchEntryIdsNotDistinct: Two or more batch entries in the request have the same Id."
pub(super) async fn a_batch_has_distinct_ids(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let sent = send(&queue, &[("a", "1"), ("a", "2")]).await;
    refused("send", sent, codes!("BatchEntryIdsNotDistinct"))?;
    queue.send("a").await?;
    let message = queue.receive_one().await?;
    let entry = DeleteMessageBatchRequestEntry::builder().id("a").receipt_handle(receipt(&message)).build();
    let entry = entry.map_err(|error| Difference(error.to_string()))?;
    let delete = queue.client.delete_message_batch().queue_url(&queue.url).entries(entry.clone());
    refused("delete", delete.entries(entry).send().await, codes!("BatchEntryIdsNotDistinct"))
}

/// "InvalidBatchEntryId": up to 80 "alphanumeric characters, hyphens (-), and underscores (_)".
pub(super) async fn a_batch_has_well_formed_ids(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    for id in ["a b", "a:b", &"i".repeat(81)] {
        refused(id, send(&queue, &[(id, "a")]).await, codes!("InvalidBatchEntryId"))?;
    }
    equal("80", send(&queue, &[(&"i".repeat(80), "a")]).await?.successful().len(), 1)
}

/// SendMessageBatch: "the maximum total payload size … 1 MiB 1,048,576 bytes"; "BatchRequestTooLong".
pub(super) async fn a_batch_has_one_mebibyte_in_all(subject: Subject) -> Verdict {
    let queue = subject.queue(&[]).await?;
    let half = "x".repeat(524_288);
    let over = send(&queue, &[("a", &half), ("b", &half), ("c", "x")]).await;
    refused("one byte more", over, codes!("BatchRequestTooLong"))?;
    equal("exactly", send(&queue, &[("a", &half), ("b", &half)]).await?.successful().len(), 2)
}
