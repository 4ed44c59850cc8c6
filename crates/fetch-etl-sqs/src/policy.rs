//! What a queue does with messages that nobody deletes.

use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use fetch_etl_core::SourceError;

use crate::SqsSource;
use crate::failure::{Failure, Reason};

/// What a queue does with messages that nobody deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePolicy {
    /// Whether there is a dead-letter queue, to which a message goes that was received too often.
    pub has_dead_letter_queue: bool,
    /// How long a message is kept; `None` where the service does not tell.
    pub retention: Option<Duration>,
}

impl SqsSource {
    /// What the queue does with messages that nobody deletes; `None` where the credentials may not read it, or the service
    /// tells nothing.
    ///
    /// # Errors
    /// The question failed; nothing else did.
    pub async fn policy(&self) -> Result<Option<QueuePolicy>, SourceError> {
        use QueueAttributeName as Name;
        const NAMES: [Name; 2] = [Name::RedrivePolicy, Name::MessageRetentionPeriod];
        let request = self.clients.asking.get_queue_attributes().queue_url(&self.queue_url);
        let attributes = match request.set_attribute_names(Some(NAMES.to_vec())).send().await {
            Ok(answer) => answer.attributes.unwrap_or_default(),
            Err(error) => {
                let failure = Failure::of("GetQueueAttributes", &error);
                return if failure.reason == Reason::AccessDenied { Ok(None) } else { Err(failure.into()) };
            }
        };
        if attributes.is_empty() {
            return Ok(None);
        }
        let seconds = attributes.get(&Name::MessageRetentionPeriod).and_then(|seconds| seconds.parse().ok());
        Ok(Some(QueuePolicy {
            // A policy that is not set is left out, by some emulators empty.
            has_dead_letter_queue: attributes
                .get(&Name::RedrivePolicy)
                .is_some_and(|policy| !policy.is_empty()),
            retention: seconds.map(Duration::from_secs),
        }))
    }
}
