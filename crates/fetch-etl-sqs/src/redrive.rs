//! Sending the messages of a dead-letter queue to their queue again, as the messages that they were.

use std::collections::HashMap;

use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use fetch_etl_core::{MessageSource as _, QueueDepth, SourceError};

use crate::batch::{self, Outcomes};
use crate::connect::ConnectError;
use crate::failure::{Failure, Reason};
use crate::message::{ORIGIN_ATTRIBUTE, ORIGIN_SENT_ATTRIBUTE};
use crate::source::{MAX_BATCH, seconds};
use crate::{SqsConfig, SqsSource};

const SEND: &str = "SendMessageBatch";

/// SQS's bounds: bytes of a whole batch, bodies and attributes together, and attributes of a message.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
const MAX_ATTRIBUTES: usize = 10;

/// Moves messages from a dead-letter queue to a queue.
///
/// SQS's own redrive gives every message a new id and a new time of sending. This one adds two message attributes,
/// [`ORIGIN_ATTRIBUTE`] and [`ORIGIN_SENT_ATTRIBUTE`], in which [`SqsSource`] finds the first ones. A message is sent first
/// and deleted then: one whose deletion failed is sent twice, and known as the same.
///
/// It needs `sqs:ReceiveMessage` and `sqs:DeleteMessage` on the one queue, and `sqs:SendMessage` on the other.
#[derive(Debug)]
pub struct Redrive {
    from: SqsSource,
    to: SqsSource,
}

/// What became of the messages of one receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// Messages that came.
    pub received: u64,
    /// Of these, those that were sent.
    pub sent: u64,
    /// Of those that were sent, such that could not be deleted: they will be sent again.
    pub undeleted: u64,
}

/// A message on its way.
struct Parcel {
    receipt: String,
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
}

impl Redrive {
    /// Finds both queues, with the AWS configuration of the environment.
    ///
    /// # Errors
    /// A configuration is wrong, or a queue cannot be found, or both are the same.
    pub async fn connect(from: SqsConfig, to: SqsConfig) -> Result<Self, ConnectError> {
        let from = SqsSource::connect(from).await?;
        let to = SqsSource::connect(to).await?;
        if from.queue_url == to.queue_url {
            return Err(ConnectError::config(
                "the messages would come from and go to the same queue".to_owned(),
            ));
        }
        Ok(Self { from, to })
    }

    /// How many messages the dead-letter queue holds; `None` where it does not tell.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    pub async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        self.from.depth().await
    }

    /// Receives at most `max` messages, at most 10, and moves them. What could not be sent stays where it is, invisible until
    /// its visibility timeout ends.
    ///
    /// # Errors
    /// The queue did not answer. What was sent before its deletion failed will be sent again.
    pub async fn step(&self, max: usize) -> Result<Step, SourceError> {
        let messages = self.receive(max.min(MAX_BATCH)).await?;
        let mut step = Step { received: messages.len() as u64, ..Step::default() };
        let parcels = messages.into_iter().filter_map(Parcel::new).collect();
        for parcels in batches(parcels) {
            let (sent, undeleted) = self.forward(parcels).await?;
            step.sent += sent;
            step.undeleted += undeleted;
        }
        Ok(step)
    }

    async fn receive(&self, max: usize) -> Result<Vec<Message>, Failure> {
        if max == 0 {
            return Ok(Vec::new());
        }
        let request = self
            .from
            .clients
            .receiving
            .receive_message()
            .queue_url(&self.from.queue_url)
            .max_number_of_messages(max as i32)
            .wait_time_seconds(self.from.wait_s)
            .visibility_timeout(seconds(self.from.lease))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_attribute_names("All");
        let answer = request.send().await.map_err(|error| Failure::of("ReceiveMessage", &error))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Sends messages and deletes those that were sent; says how many were sent, and how many of these not deleted.
    async fn forward(&self, parcels: Vec<Parcel>) -> Result<(u64, u64), Failure> {
        let receipts: Vec<_> = parcels.iter().map(|parcel| parcel.receipt.clone()).collect();
        let outcomes = self.send(parcels).await?;
        let sent: Vec<_> =
            receipts.into_iter().zip(outcomes.reasons()).filter(|(_, reason)| reason.is_none()).collect();
        let count = sent.len();
        if count == 0 {
            return Ok((0, 0));
        }
        let outcomes = self
            .from
            .delete(&self.from.clients.asking, sent.iter().map(|(receipt, _)| receipt.as_str()))
            .await?;
        let undeleted = outcomes.reasons().filter(Option::is_some).count();
        Ok((count as u64, undeleted as u64))
    }

    async fn send(&self, parcels: Vec<Parcel>) -> Result<Outcomes, Failure> {
        let count = parcels.len();
        let entry = |(index, parcel): (usize, Parcel)| {
            SendMessageBatchRequestEntry::builder()
                .id(batch::id(index))
                .message_body(parcel.body)
                .set_message_attributes(Some(parcel.attributes))
                .build()
                .map_err(|_| Failure::of_entry(SEND, Reason::NotBuilt, None))
        };
        let entries = parcels.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let request = self.to.clients.asking.send_message_batch().queue_url(&self.to.queue_url);
        let answer =
            request.set_entries(Some(entries)).send().await.map_err(|error| Failure::of(SEND, &error))?;
        let successful = answer.successful().iter().map(|entry| entry.id());
        Ok(Outcomes::new(SEND, count, successful, answer.failed()))
    }
}

impl Parcel {
    /// `None` for a message that cannot be sent so that it is known again: it has no id, or no room for our attributes.
    fn new(message: Message) -> Option<Self> {
        let sent = message
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp).cloned());
        let mut attributes = message.message_attributes.unwrap_or_default();
        // One that was redriven before says already which message it is.
        if !attributes.contains_key(ORIGIN_ATTRIBUTE) {
            attributes.insert(ORIGIN_ATTRIBUTE.to_owned(), attribute("String", message.message_id?)?);
            if let Some(sent) = sent {
                attributes.insert(ORIGIN_SENT_ATTRIBUTE.to_owned(), attribute("Number", sent)?);
            }
        }
        let (receipt, body) = (message.receipt_handle?, message.body.unwrap_or_default());
        let parcel = Self { receipt, body, attributes };
        // SQS would refuse the whole batch for it.
        let fits = parcel.attributes.len() <= MAX_ATTRIBUTES && parcel.bytes() <= MAX_BATCH_BYTES;
        fits.then_some(parcel)
    }

    /// What it counts against the bound of a batch.
    fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            let text = value.string_value().map_or(0, str::len);
            let binary = value.binary_value().map_or(0, |blob| blob.as_ref().len());
            name.len() + value.data_type().len() + text + binary
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

fn attribute(data_type: &str, value: String) -> Option<MessageAttributeValue> {
    MessageAttributeValue::builder().data_type(data_type).string_value(value).build().ok()
}

/// Batches that SQS takes.
fn batches(parcels: Vec<Parcel>) -> Vec<Vec<Parcel>> {
    let mut batches: Vec<Vec<Parcel>> = Vec::new();
    let mut room = 0;
    for parcel in parcels {
        let bytes = parcel.bytes();
        match batches.last_mut() {
            Some(batch) if bytes <= room => batch.push(parcel),
            _ => {
                batches.push(vec![parcel]);
                room = MAX_BATCH_BYTES;
            }
        }
        room = room.saturating_sub(bytes);
    }
    batches
}
