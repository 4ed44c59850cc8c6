//! The operations on messages.

use super::{Service, check};
use crate::attribute;
use crate::clock::Millis;
use crate::error::{ErrorKind, SqsError};
use crate::limits::{MAX_BATCH, MAX_WAIT_S};
use crate::message::{Draft, MessageId};
use crate::queue::{Queue, ReceiveOptions};
use crate::receipt::{Receipt, Seal};
use crate::state::{EntryFault, QueueState};
use crate::wire::request::{
    Batch, ChangeVisibility, ChangeVisibilityEntry, DeleteEntry, DeleteMessage, ReceiveMessage, SendEntry,
    SendMessage,
};
use crate::wire::response::{Delivery, Entry, Outcome, Sent, SystemAttributes};

impl Service {
    pub(super) fn send_message(&self, request: SendMessage<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        let draft = check::message(request.message)?;
        let announce = announcement(&draft);
        let id = queue.with(|state, now| state.send(now, draft))??;
        Ok(Outcome::Sent(announce(id)))
    }

    pub(super) fn send_message_batch(&self, request: Batch<'_, SendEntry<'_>>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        check::batch("SendMessageBatch", request.entries.iter().map(|entry| &*entry.id))?;
        check::batch_size(request.entries.iter().map(|entry| check::size(&entry.message)).sum())?;
        let drafts: Vec<_> = request
            .entries
            .into_iter()
            .map(|entry| (entry.id.into_owned(), check::message(entry.message)))
            .collect();
        let entries = queue.with(|state, now| {
            drafts
                .into_iter()
                .map(|(id, draft)| {
                    let result = draft.and_then(|draft| {
                        state.sent_entry_fault().map_or(Ok(()), |fault| Err(entry_error(fault)))?;
                        let announce = announcement(&draft);
                        Ok(announce(state.send(now, draft)?))
                    });
                    Entry { id, result }
                })
                .collect()
        })?;
        Ok(Outcome::SentBatch(entries))
    }

    pub(super) async fn receive_message(&self, request: ReceiveMessage<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        let options = receive_options(&request)?;
        let messages = queue.receive(options, &self.registry, &self.shutdown).await?;
        let names = request.attribute_names.iter().chain(&request.message_system_attribute_names);
        Ok(Outcome::Received(Delivery {
            messages,
            seal: queue.seal,
            system_attributes: SystemAttributes::named(names.map(|name| &**name)),
            attribute_names: request.message_attribute_names,
        }))
    }

    pub(super) fn delete_message(&self, request: &DeleteMessage<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        let receipt = open(queue.seal, &request.receipt_handle)?;
        queue.with(|state, now| state.delete(now, receipt))?;
        Ok(Outcome::Done)
    }

    pub(super) fn delete_message_batch(
        &self,
        request: &Batch<'_, DeleteEntry<'_>>,
    ) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        check::batch("DeleteMessageBatch", request.entries.iter().map(|entry| &*entry.id))?;
        let receipts = request.entries.iter().map(|entry| (&*entry.id, &*entry.receipt_handle, ()));
        for_each_receipt(&queue, receipts, |state, now, receipt, ()| {
            state.delete(now, receipt);
            Ok(())
        })
    }

    pub(super) fn change_message_visibility(
        &self,
        request: &ChangeVisibility<'_>,
    ) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        let visibility_s = required_visibility(request.visibility_timeout)?;
        let receipt = open(queue.seal, &request.receipt_handle)?;
        queue.with(|state, now| state.change_visibility(now, receipt, visibility_s))??;
        Ok(Outcome::Done)
    }

    pub(super) fn change_message_visibility_batch(
        &self,
        request: &Batch<'_, ChangeVisibilityEntry<'_>>,
    ) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        check::batch("ChangeMessageVisibilityBatch", request.entries.iter().map(|entry| &*entry.id))?;
        let receipts = request
            .entries
            .iter()
            .map(|entry| (&*entry.id, &*entry.receipt_handle, entry.visibility_timeout));
        for_each_receipt(&queue, receipts, |state, now, receipt, visibility_s| {
            state.change_visibility(now, receipt, required_visibility(visibility_s)?)
        })
    }
}

/// Does something to the message of each entry, all in one critical section; an entry can fail by itself.
fn for_each_receipt<'a, T>(
    queue: &Queue,
    entries: impl Iterator<Item = (&'a str, &'a str, T)>,
    mut act: impl FnMut(&mut QueueState, Millis, Receipt, T) -> Result<(), SqsError>,
) -> Result<Outcome, SqsError> {
    let entries = queue.with(|state, now| {
        entries
            .map(|(id, handle, argument)| {
                let result = open(queue.seal, handle).and_then(|receipt| match state.entry_fault() {
                    Some(fault) => Err(entry_error(fault)),
                    None => act(state, now, receipt, argument),
                });
                Entry { id: id.to_owned(), result }
            })
            .collect()
    })?;
    Ok(Outcome::Batch(entries))
}

fn entry_error(fault: EntryFault) -> SqsError {
    match fault {
        EntryFault::Sender => SqsError::invalid_parameter("The entry is refused, by a fault on purpose."),
        EntryFault::Service => SqsError::new(ErrorKind::Internal, "The entry failed, by a fault on purpose."),
    }
}

fn open(seal: Seal, handle: &str) -> Result<Receipt, SqsError> {
    if handle.is_empty() {
        return Err(SqsError::missing("ReceiptHandle"));
    }
    seal.open(handle).ok_or_else(SqsError::invalid_receipt)
}

fn required_visibility(visibility_s: Option<i64>) -> Result<u32, SqsError> {
    check::visibility(visibility_s.ok_or_else(|| SqsError::missing("VisibilityTimeout"))?)
}

fn receive_options(request: &ReceiveMessage<'_>) -> Result<ReceiveOptions, SqsError> {
    let max = request.max_number_of_messages.unwrap_or(1);
    let max = check::in_range(max, 1, MAX_BATCH as i64).ok_or_else(|| {
        SqsError::out_of_range(max, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
    })?;
    let wait = |wait_s| {
        check::in_range(wait_s, 0, MAX_WAIT_S).ok_or_else(|| {
            SqsError::out_of_range(wait_s, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
        })
    };
    Ok(ReceiveOptions {
        max: max as usize,
        visibility_s: request.visibility_timeout.map(check::visibility).transpose()?,
        wait_s: request.wait_time_seconds.map(wait).transpose()?,
    })
}

/// The answer to a send, but for the id, which the queue gives.
fn announcement(draft: &Draft) -> impl FnOnce(MessageId) -> Sent + use<> {
    let body_md5 = draft.body_md5;
    let extra = draft.extra.as_deref();
    let attributes = extra.map(|extra| &*extra.attributes).filter(|attributes| !attributes.is_empty());
    let attributes_md5 = attributes.map(attribute::digest);
    let trace_header = extra.and_then(|extra| extra.trace_header.as_deref());
    let system_attributes_md5 = trace_header.map(|header| attribute::text_digest("AWSTraceHeader", header));
    move |id| Sent { id, body_md5, attributes_md5, system_attributes_md5 }
}
