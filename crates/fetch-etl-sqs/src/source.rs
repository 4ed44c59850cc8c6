//! The source.

use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sqs::types::QueueAttributeName;
use fetch_etl_aws::Endpoint;
use fetch_etl_core::{
    AckFailure, Committed, Delivery, ExtendOutcome, Held, MessageSource, QueueDepth, Returned, SourceError,
    SourceLimits,
};
use tracing::warn;

use crate::calls::{self, Ask, Calls, LeanCalls, Received};
use crate::client::{self, Clients, Target};
use crate::config::MAX_VISIBILITY;
use crate::connect::{self, ConnectError, Found};
use crate::failure::{Failure, Reason};
use crate::message::KeyAttributes;
use crate::{SqsConfig, Transport};

/// Most messages of one receive, and most entries of one batch.
pub(crate) const MAX_BATCH: usize = 10;

/// How long a message can be held in all. SQS counts its 12 hours from when it sent the message, we from when it was here:
/// the minute between makes sure that the last extension is not refused.
const MAX_HOLD: Duration = MAX_VISIBILITY.saturating_sub(Duration::from_secs(60));

/// A queue of AWS SQS, or of what speaks its protocol, as a [`MessageSource`]. See the [crate's documentation](crate).
pub struct SqsSource {
    pub(crate) clients: Clients,
    pub(crate) queue_url: String,
    pub(crate) wait_s: i32,
    pub(crate) lease: Duration,
    /// Where that is not the service's own address for the region.
    pub(crate) endpoint: Option<Endpoint>,
    calls: Box<dyn Calls>,
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
        let clients = clients.with_lease(lease);
        let wait_s = seconds(config.wait_time);
        let keys = KeyAttributes::new(config.key_attribute);
        let ask = Ask { queue_url: url.clone(), wait_s, lease_s: seconds(lease), keys };
        let calls: Box<dyn Calls> = match config.transport {
            Transport::Lean => {
                let calls = LeanCalls::new(&clients, ask).await;
                Box::new(calls.map_err(|failure| ConnectError::new(&failure, &config.queue, &target))?)
            }
            Transport::Sdk => Box::new(clients.calls(ask)),
        };
        Ok(Self { clients, queue_url: url, wait_s, lease, endpoint: target.endpoint, calls })
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
        let Received { deliveries, incomplete } = self.calls.receive(max).await?;
        if incomplete > 0 {
            warn!(
                event = "incomplete_messages",
                messages = incomplete,
                "messages without an id or a receipt came; they are left in the queue"
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
        let handles: Vec<_> = held.iter().map(|token| token.receipt().handle()).collect();
        let outcomes = self.calls.extend(&handles, seconds(lease)).await?;
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
        let handles: Vec<_> = committed.iter().map(|token| token.receipt().handle()).collect();
        let outcomes = match self.calls.delete(&handles).await {
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
        let handles: Vec<_> = returned.iter().map(|token| token.receipt().handle()).collect();
        let (client, queue_url) = (&self.clients.asking, &self.queue_url);
        let outcomes = calls::change_visibility(client, queue_url, &handles, seconds(delay)).await?;
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
