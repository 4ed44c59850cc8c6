//! What a queue is to be like, said in code.

use std::time::Duration;

use crate::error::SqsError;
use crate::settings::Settings;

/// A queue to be created when the server starts.
///
/// Times are in whole seconds on the wire, so parts of a second are cut off. Values outside of the limits of SQS are
/// refused by [`bind`](crate::Builder::bind).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(&'static str, String)>,
    pub(crate) dead_letter: Option<(String, u32)>,
    pub(crate) in_flight_limit: Option<usize>,
}

impl QueueConfig {
    /// A queue with the defaults of SQS: visibility timeout 30 s, no delay, short polls, retention 4 days.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), attributes: Vec::new(), dead_letter: None, in_flight_limit: None }
    }

    /// How long a received message is hidden from other receives: 0 to 12 hours.
    #[must_use]
    pub fn visibility_timeout(self, timeout: Duration) -> Self {
        self.attribute("VisibilityTimeout", timeout.as_secs().to_string())
    }

    /// How long a new message is hidden: 0 to 15 minutes.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.attribute("DelaySeconds", delay.as_secs().to_string())
    }

    /// How long a message is kept: 1 minute to 14 days.
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        self.attribute("MessageRetentionPeriod", retention.as_secs().to_string())
    }

    /// How long a receive waits that does not say: 0 to 20 seconds.
    #[must_use]
    pub fn receive_wait(self, wait: Duration) -> Self {
        self.attribute("ReceiveMessageWaitTimeSeconds", wait.as_secs().to_string())
    }

    /// The longest message: 1 KiB to 1 MiB.
    #[must_use]
    pub fn max_message_bytes(self, bytes: usize) -> Self {
        self.attribute("MaximumMessageSize", bytes.to_string())
    }

    /// What the queue says about encryption with keys of the service; unless it is set, nothing. This server encrypts nothing.
    #[must_use]
    pub fn managed_encryption(self, is_on: bool) -> Self {
        self.attribute("SqsManagedSseEnabled", is_on.to_string())
    }

    /// Where messages go that were received `max_receive_count` times (1 to 1000) without being deleted. That queue
    /// is created with the defaults if it is not configured itself.
    #[must_use]
    pub fn dead_letter(mut self, queue: impl Into<String>, max_receive_count: u32) -> Self {
        self.dead_letter = Some((queue.into(), max_receive_count));
        self
    }

    /// How many messages can be in flight: 120,000 in SQS and by default. Lower it to see what a full queue does.
    #[must_use]
    pub fn in_flight_limit(mut self, messages: usize) -> Self {
        self.in_flight_limit = Some(messages);
        self
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn attribute(mut self, name: &'static str, value: String) -> Self {
        self.attributes.push((name, value));
        self
    }

    /// The settings but for the dead-letter queue, which has to exist first.
    pub(crate) fn settings(&self) -> Result<Settings, SqsError> {
        let mut settings = Settings::default();
        settings.update(self.attributes.iter().map(|(name, value)| (*name, value.as_str())))?;
        if let Some(limit) = self.in_flight_limit {
            settings.in_flight_limit = limit;
        }
        Ok(settings)
    }
}
