//! The source.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
    QueueAttributeName,
};
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, MessageSource, QueueDepth, Receipt, Returned,
    SourceError, SourceLimits,
};
use tracing::warn;

use crate::SqsConfig;
use crate::batch::{self, Outcomes};
use crate::client::{self, Clients, Target};
use crate::config::MAX_VISIBILITY;
use crate::connect::{self, ConnectError, Found};
use crate::endpoint::Endpoint;
use crate::failure::{Failure, Reason};
use crate::message::{self, KeyAttributes};

/// Most messages of one receive, and most entries of one batch.
pub(crate) const MAX_BATCH: usize = 10;

/// How long a message can be held in all. SQS counts its 12 hours from when it sent the message, we from when it was here:
/// the minute between makes sure that the last extension is not refused.
const MAX_HOLD: Duration = MAX_VISIBILITY.saturating_sub(Duration::from_secs(60));

const DELETE: &str = "DeleteMessageBatch";
const CHANGE_VISIBILITY: &str = "ChangeMessageVisibilityBatch";

/// A queue of AWS SQS, or of what speaks its protocol, as a [`MessageSource`]. See the [crate's documentation](crate).
pub struct SqsSource {
    pub(crate) clients: Clients,
    pub(crate) queue_url: String,
    pub(crate) wait_s: i32,
    pub(crate) lease: Duration,
    /// Where that is not the service's own address for the region.
    pub(crate) endpoint: Option<Endpoint>,
    keys: KeyAttributes,
}

impl SqsSource {
    /// Finds the queue, with the AWS configuration of the environment (credentials, region, profile, proxies).
    ///
    /// # Errors
    /// The configuration is wrong, or the queue cannot be found: one line that says why.
    pub async fn connect(config: SqsConfig) -> Result<Self, ConnectError> {
        let place = config.resolve()?;
        let sdk = client::load(&config, &place).await;
        Self::connect_with(config, &sdk).await
    }

    /// Finds the queue, with an AWS configuration that the caller has already: its credentials, HTTP client, region and
    /// endpoint, the last two unless `config` states them. Timeouts and retries are those of `config`, and
    /// [`credentials`](SqsConfig::credentials) there is not looked at.
    ///
    /// # Errors
    /// The configuration is wrong, or the queue cannot be found: one line that says why.
    pub async fn connect_with(config: SqsConfig, sdk: &SdkConfig) -> Result<Self, ConnectError> {
        let target = Target::new(config.resolve()?, sdk)?;
        if sdk.credentials_provider().is_none() {
            return Err(ConnectError::no_provider());
        }
        let clients = Clients::new(&config, &target, sdk);
        let Found { url, lease } = connect::find(&config, &target, &clients).await?;
        Ok(Self {
            clients: clients.with_lease(lease),
            queue_url: url,
            wait_s: seconds(config.wait_time),
            lease,
            endpoint: target.endpoint,
            keys: KeyAttributes::new(config.key_attribute),
        })
    }

    pub(crate) async fn delete<'a>(
        &self,
        client: &aws_sdk_sqs::Client,
        handles: impl Iterator<Item = &'a str>,
    ) -> Result<Outcomes, Failure> {
        let entry = |(index, handle)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(batch::id(index))
                .receipt_handle(handle)
                .build()
                .map_err(|_| Failure::of_entry(DELETE, Reason::NotBuilt, None))
        };
        let entries = handles.enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let count = entries.len();
        let request = client.delete_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| Failure::of(DELETE, &error))?;
        let successful = answer.successful().iter().map(|entry| entry.id());
        Ok(Outcomes::new(DELETE, count, successful, answer.failed()))
    }

    async fn change_visibility<'a>(
        &self,
        client: &aws_sdk_sqs::Client,
        receipts: impl Iterator<Item = &'a Receipt>,
        visibility: Duration,
    ) -> Result<Outcomes, Failure> {
        let entry = |(index, receipt): (usize, &Receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(batch::id(index))
                .receipt_handle(receipt.handle())
                .visibility_timeout(seconds(visibility))
                .build()
                .map_err(|_| Failure::of_entry(CHANGE_VISIBILITY, Reason::NotBuilt, None))
        };
        let entries = receipts.enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let count = entries.len();
        let request =
            client.change_message_visibility_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| Failure::of(CHANGE_VISIBILITY, &error))?;
        let successful = answer.successful().iter().map(|entry| entry.id());
        Ok(Outcomes::new(CHANGE_VISIBILITY, count, successful, answer.failed()))
    }
}

#[async_trait]
impl MessageSource for SqsSource {
    fn limits(&self) -> SourceLimits {
        SourceLimits {
            max_receive: MAX_BATCH,
            max_batch: MAX_BATCH,
            lease: Some(self.lease),
            max_hold: Some(MAX_HOLD),
        }
    }

    /// One ReceiveMessage, a long poll of the configured wait.
    ///
    /// **Cancel-safety.** Dropping it closes the connection. Messages that SQS had handed out by then stay invisible for the
    /// visibility timeout and come back; none is lost.
    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let max = max.min(MAX_BATCH);
        if max == 0 {
            return Ok(Vec::new());
        }
        let request = self
            .clients
            .receiving
            .receive_message()
            .queue_url(&self.queue_url)
            .max_number_of_messages(max as i32)
            .wait_time_seconds(self.wait_s)
            // Also where it is the queue's own: it can be changed there any time, and `limits` is for life.
            .visibility_timeout(seconds(self.lease))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .set_message_attribute_names(Some(self.keys.names()));
        // The answer derives Debug, with the bodies: it is taken apart here and not passed on.
        let answer = request.send().await.map_err(|error| Failure::of("ReceiveMessage", &error))?;
        let messages = answer.messages.unwrap_or_default();
        let received = messages.len();
        let deliveries: Vec<_> =
            messages.into_iter().filter_map(|message| message::delivery(message, &self.keys)).collect();
        if deliveries.len() < received {
            let messages = received - deliveries.len();
            warn!(
                event = "incomplete_messages",
                messages, "messages without an id or a receipt came; they are left in the queue"
            );
        }
        Ok(deliveries)
    }

    /// One ChangeMessageVisibilityBatch; fractions of a second are rounded up.
    async fn extend(&self, held: &[Held], lease: Duration) -> Result<Vec<ExtendOutcome>, SourceError> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        // Of 0 seconds it would be a nack.
        let lease = lease.max(Duration::from_secs(1));
        let receipts = held.iter().map(Held::receipt);
        let outcomes = self.change_visibility(&self.clients.settling, receipts, lease).await?;
        let outcome = |reason| match reason {
            None => ExtendOutcome::Extended,
            Some(Reason::NotInFlight) => ExtendOutcome::Lost,
            Some(_) => ExtendOutcome::Failed,
        };
        Ok(outcomes.reasons().map(outcome).collect())
    }

    /// One DeleteMessageBatch. What was deleted before counts as deleted: SQS says so itself. A receipt that it calls
    /// invalid is given back with a fatal error, for no retry will make it valid, and the message, if there is one, comes
    /// back.
    async fn ack(&self, committed: Vec<Committed>) -> Result<(), AckFailure> {
        if committed.is_empty() {
            return Ok(());
        }
        let handles = committed.iter().map(|token| token.receipt().handle());
        let outcomes = match self.delete(&self.clients.settling, handles).await {
            Ok(outcomes) => outcomes,
            Err(failure) => return Err(AckFailure { error: failure.into(), unacked: committed }),
        };
        let Some(failure) = outcomes.worst(|_| true) else { return Ok(()) };
        let unacked = committed.into_iter().zip(outcomes.reasons()).filter(|(_, reason)| reason.is_some());
        Err(AckFailure { error: failure.into(), unacked: unacked.map(|(token, _)| token).collect() })
    }

    /// One ChangeMessageVisibilityBatch; the delay is at most 12 hours, and fractions of a second are rounded up. What is
    /// not in flight any more needs no giving back.
    async fn nack(&self, returned: Vec<Returned>, delay: Duration) -> Result<(), SourceError> {
        if returned.is_empty() {
            return Ok(());
        }
        let receipts = returned.iter().map(Returned::receipt);
        let outcomes = self.change_visibility(&self.clients.asking, receipts, delay).await?;
        match outcomes.worst(|reason| reason != Reason::NotInFlight) {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// SQS's approximate numbers; `None` where the credentials may not read them.
    async fn depth(&self) -> Result<Option<QueueDepth>, SourceError> {
        use QueueAttributeName as Name;
        const NAMES: [Name; 3] = [
            Name::ApproximateNumberOfMessages,
            Name::ApproximateNumberOfMessagesNotVisible,
            Name::ApproximateNumberOfMessagesDelayed,
        ];
        let request = self.clients.asking.get_queue_attributes().queue_url(&self.queue_url);
        let attributes = match request.set_attribute_names(Some(NAMES.to_vec())).send().await {
            Ok(answer) => answer.attributes.unwrap_or_default(),
            Err(error) => {
                let failure = Failure::of("GetQueueAttributes", &error);
                return if failure.reason == Reason::AccessDenied { Ok(None) } else { Err(failure.into()) };
            }
        };
        let [visible, in_flight, delayed] = NAMES.map(|name| attributes.get(&name)?.parse().ok());
        // An emulator may not know of delays; without the other two there is nothing to tell.
        let depth = |visible, in_flight| QueueDepth { visible, in_flight, delayed: delayed.unwrap_or(0) };
        Ok(visible.zip(in_flight).map(|(visible, in_flight)| depth(visible, in_flight)))
    }
}

/// Whole seconds as SQS takes them: rounded up, so that nothing is held shorter than we think, and at most 12 hours.
pub(crate) fn seconds(time: Duration) -> i32 {
    let whole = time.min(MAX_VISIBILITY);
    let up = whole.as_secs() + u64::from(whole.subsec_nanos() > 0);
    i32::try_from(up).unwrap_or(i32::MAX)
}

impl std::fmt::Debug for SqsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqsSource")
            .field("queue_url", &self.queue_url)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_end_at_twelve_hours() {
        for (ms, expected) in
            [(0, 0), (1, 1), (1_000, 1), (1_001, 2), (43_200_000, 43_200), (86_400_000, 43_200)]
        {
            assert_eq!(seconds(Duration::from_millis(ms)), expected, "{ms} ms");
        }
        assert_eq!(seconds(Duration::MAX), 43_200);
    }
}
