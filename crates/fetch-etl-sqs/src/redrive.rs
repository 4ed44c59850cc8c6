//! Sending the messages of a dead-letter queue to their queue again, as the messages that they were.

use std::collections::{HashMap, HashSet};
use std::fmt;

use aws_sdk_sqs::types::{
    Message, MessageAttributeValue, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use fetch_etl_core::{MessageSource as _, Pii, QueueDepth, SourceError};

use crate::batch::{self, Outcomes};
use crate::calls;
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
/// and deleted then: one whose deletion failed comes back, and is not sent again in this run; another run sends it again, known
/// as the same.
///
/// On the dead-letter queue it needs `sqs:ReceiveMessage` and `sqs:DeleteMessage`, on the other `sqs:SendMessage`; on both
/// `sqs:GetQueueUrl` where they are named, and `sqs:GetQueueAttributes`, without which leases are of 30 s and
/// [`depth`](Self::depth) is not known. Whoever calls it until nothing comes any more must have another end where the depth is
/// not known: messages that are rejected again come back, as new ones.
#[derive(Debug)]
pub struct Redrive {
    from: SqsSource,
    to: SqsSource,
    sent: u64,
    /// Ids of messages that are not sent: they come back each time that their lease ends, and count once.
    left: HashSet<Box<str>>,
    /// Ids of messages that were sent and, as far as is known, not deleted yet.
    undeleted: HashSet<Box<str>>,
}

/// What became of the messages so far, each counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were not sent and stay where they are: the queue refused them, or they cannot be sent so that they are
    /// known again.
    pub left: u64,
    /// Of those that were sent, such that could not be deleted: another run would send them again.
    pub undeleted: u64,
}

/// What one receive brought.
pub struct Received {
    parcels: Vec<Parcel>,
    /// Ids of messages that cannot be sent so that they are known again.
    unsendable: Vec<Box<str>>,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parcels, unsendable } = self;
        write!(f, "Received({} messages)", parcels.len() + unsendable.len())
    }
}

/// A message on its way.
struct Parcel {
    id: Box<str>,
    receipt: String,
    body: Pii<String>,
    attributes: HashMap<String, MessageAttributeValue>,
}

/// What is left of a parcel once it is sent: what deletes its message.
struct Stub {
    id: Box<str>,
    receipt: String,
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
        Ok(Self { from, to, sent: 0, left: HashSet::new(), undeleted: HashSet::new() })
    }

    /// How many messages the dead-letter queue holds; `None` where it does not tell.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    pub async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        self.from.depth().await
    }

    /// What became of the messages so far: right after an error, too.
    pub fn tally(&self) -> Tally {
        Tally { sent: self.sent, left: self.left.len() as u64, undeleted: self.undeleted.len() as u64 }
    }

    /// Receives at most `max` messages, at most 10: one long poll of the dead-letter queue's configured wait.
    ///
    /// **Cancel-safety.** Dropping it closes the connection. Messages that SQS had handed out by then stay invisible for the
    /// visibility timeout and come back; none is lost, and none counts.
    ///
    /// # Errors
    /// The queue did not answer.
    pub async fn receive(&self, max: usize) -> Result<Received, SourceError> {
        let messages = self.ask(max.min(MAX_BATCH)).await?;
        let mut received = Received { parcels: Vec::new(), unsendable: Vec::new() };
        for message in messages {
            match Parcel::new(message) {
                Ok(parcel) => received.parcels.push(parcel),
                Err(id) => received.unsendable.push(id),
            }
        }
        Ok(received)
    }

    /// Sends what was received and deletes what was sent. What could not be sent stays where it is, invisible until its
    /// visibility timeout ends. Says whether that changed the [`tally`](Self::tally): it did not where nothing came but what
    /// had been left before.
    ///
    /// **Cancel-safety.** None: what is sent by then and not deleted will be sent again.
    ///
    /// # Errors
    /// A queue did not answer. The [`tally`](Self::tally) has what was done before that; the rest comes back.
    pub async fn forward(&mut self, received: Received) -> Result<bool, SourceError> {
        let before = self.tally();
        let Received { parcels, unsendable } = received;
        self.left.extend(unsendable);
        let (sent, others): (Vec<_>, Vec<_>) =
            parcels.into_iter().partition(|parcel| self.undeleted.contains(&parcel.id));
        self.delete(sent.iter().map(Parcel::stub).collect()).await?;
        let news = others.into_iter().filter(|parcel| !self.left.contains(&parcel.id)).collect();
        for parcels in batches(news) {
            self.forward_batch(parcels).await?;
        }
        Ok(self.tally() != before)
    }

    async fn ask(&self, max: usize) -> Result<Vec<Message>, Failure> {
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

    async fn forward_batch(&mut self, parcels: Vec<Parcel>) -> Result<(), Failure> {
        let stubs: Vec<_> = parcels.iter().map(Parcel::stub).collect();
        let outcomes = self.send(parcels).await?;
        let (sent, refused): (Vec<_>, Vec<_>) =
            stubs.into_iter().zip(outcomes.reasons()).partition(|(_, reason)| reason.is_none());
        self.sent += sent.len() as u64;
        self.left.extend(refused.into_iter().map(|(stub, _)| stub.id));
        self.delete(sent.into_iter().map(|(stub, _)| stub).collect()).await
    }

    async fn delete(&mut self, stubs: Vec<Stub>) -> Result<(), Failure> {
        if stubs.is_empty() {
            return Ok(());
        }
        // Until the queue says otherwise: it may not answer at all.
        self.undeleted.extend(stubs.iter().map(|stub| stub.id.clone()));
        let receipts: Vec<_> = stubs.iter().map(|stub| stub.receipt.as_str()).collect();
        let outcomes = calls::delete(&self.from.clients.asking, &self.from.queue_url, &receipts).await?;
        for (stub, reason) in stubs.iter().zip(outcomes.reasons()) {
            if reason.is_none() {
                self.undeleted.remove(&stub.id);
            }
        }
        Ok(())
    }

    async fn send(&self, parcels: Vec<Parcel>) -> Result<Outcomes, Failure> {
        let count = parcels.len();
        let entry = |(index, parcel): (usize, Parcel)| {
            SendMessageBatchRequestEntry::builder()
                .id(batch::id(index))
                // A copy that nobody zeroizes: the SDK takes nothing else.
                .message_body(parcel.body.expose())
                .set_message_attributes(Some(parcel.attributes))
                .build()
                .map_err(|_| Failure::of_entry(SEND, Reason::NotBuilt, None))
        };
        let entries = parcels.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let request = self.to.clients.asking.send_message_batch().queue_url(&self.to.queue_url);
        let answer =
            request.set_entries(Some(entries)).send().await.map_err(|error| Failure::of(SEND, &error))?;
        let successful = answer.successful().iter().map(|entry| entry.id());
        Ok(Outcomes::new(SEND, count, successful, answer.failed().iter().map(Into::into)))
    }
}

impl Parcel {
    /// The id alone of a message that cannot be sent so that it is known again: it has no id, or no room for our attributes.
    fn new(message: Message) -> Result<Self, Box<str>> {
        let body = Pii::new(message.body.unwrap_or_default());
        let sent = message
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(&MessageSystemAttributeName::SentTimestamp).cloned());
        let id = message.message_id.unwrap_or_default();
        let attributes = with_origin(message.message_attributes.unwrap_or_default(), &id, sent);
        let (id, receipt) = (id.into_boxed_str(), message.receipt_handle);
        let (Some(attributes), Some(receipt)) = (attributes, receipt) else { return Err(id) };
        let parcel = Self { id, receipt, body, attributes };
        // SQS would refuse the whole batch for it.
        let fits = parcel.attributes.len() <= MAX_ATTRIBUTES && parcel.bytes() <= MAX_BATCH_BYTES;
        if fits { Ok(parcel) } else { Err(parcel.id) }
    }

    fn stub(&self) -> Stub {
        Stub { id: self.id.clone(), receipt: self.receipt.clone() }
    }

    /// What it counts against the bound of a batch.
    fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            let text = value.string_value().map_or(0, str::len);
            let binary = value.binary_value().map_or(0, |blob| blob.as_ref().len());
            name.len() + value.data_type().len() + text + binary
        };
        self.body.expose().len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// Adds which message it is, and since when. `None` where that cannot be said.
fn with_origin(
    mut attributes: HashMap<String, MessageAttributeValue>,
    id: &str,
    sent: Option<String>,
) -> Option<HashMap<String, MessageAttributeValue>> {
    // One that was redriven before says so already.
    if attributes.contains_key(ORIGIN_ATTRIBUTE) {
        return Some(attributes);
    }
    if id.is_empty() {
        return None;
    }
    attributes.insert(ORIGIN_ATTRIBUTE.to_owned(), attribute("String", id.to_owned())?);
    if let Some(sent) = sent {
        attributes.insert(ORIGIN_SENT_ATTRIBUTE.to_owned(), attribute("Number", sent)?);
    }
    Some(attributes)
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
