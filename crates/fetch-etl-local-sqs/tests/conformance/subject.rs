//! A server under examination, and the words that checks are written in.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};

use super::{Difference, Verdict};
use crate::support::client;

/// How much earlier or later than at its second something may happen: clocks are read at both ends of the wire, and
/// the machine may be busy.
pub(super) const SLACK: Duration = Duration::from_millis(200);

impl<E: ProvideErrorMetadata + Debug> From<SdkError<E>> for Difference {
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map(|response| response.status().as_u16());
        Self(match error.as_service_error() {
            Some(service) => {
                format!("refused: {status:?} {:?} {:?}", service.code(), service.message())
            }
            None => format!("failed: {error:?}"),
        })
    }
}

/// Holds a server to a claim.
pub(super) fn that(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Difference(otherwise())) }
}

/// Holds a server to a value.
pub(super) fn equal<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Verdict {
    that(found == expected, || format!("{what}: {found:?} instead of {expected:?}"))
}

/// Holds a server to refusing, with a code, by the name of either protocol.
pub(super) fn refused<T: Debug, E: ProvideErrorMetadata + Debug>(
    what: &str,
    result: Result<T, SdkError<E>>,
    codes: &[&str],
) -> Verdict {
    match result {
        Ok(_) => Err(Difference(format!("{what}: accepted"))),
        Err(error) => {
            let code = error.code();
            that(code.is_some_and(|code| codes.contains(&code)), || {
                format!("{what}: {:?} instead of {codes:?}", Difference::from(error))
            })
        }
    }
}

/// A server, for one check.
pub(super) struct Subject {
    pub(super) client: Client,
    /// For the names of the check's queues, so that checks do not meet.
    name: String,
    queues: AtomicU32,
}

/// A queue of a check.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) name: Arc<str>,
}

impl Subject {
    pub(super) fn new(endpoint: &str, check: &str) -> Self {
        let name = check.chars().take(60).collect();
        Self { client: client(endpoint), name, queues: AtomicU32::new(0) }
    }

    pub(super) fn new_name(&self) -> String {
        format!("{}-{}", self.name, self.queues.fetch_add(1, Ordering::Relaxed))
    }

    /// A new queue with these attributes.
    pub(super) async fn queue(&self, attributes: &[(QueueAttributeName, &str)]) -> Result<Queue, Difference> {
        let name = self.new_name();
        let request = attributes
            .iter()
            .fold(self.client.create_queue().queue_name(&name), |request, (attribute, value)| {
                request.attributes(attribute.clone(), *value)
            });
        let url = request.send().await?.queue_url.unwrap_or_default();
        Ok(Queue { client: self.client.clone(), url, name: name.into() })
    }
}

impl Queue {
    pub(super) async fn send(&self, body: &str) -> Result<String, Difference> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await?;
        Ok(sent.message_id.unwrap_or_default())
    }

    /// Up to ten messages, with all system attributes, waiting so many seconds for the first.
    pub(super) async fn receive(&self, wait_s: i32) -> Result<Vec<Message>, Difference> {
        let request = self.client.receive_message().queue_url(&self.url).max_number_of_messages(10);
        let request = request.message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(request.wait_time_seconds(wait_s).send().await?.messages.unwrap_or_default())
    }

    /// The one message that is to be there, within the longest wait.
    pub(super) async fn receive_one(&self) -> Result<Message, Difference> {
        let mut messages = self.receive(20).await?;
        equal("messages received", messages.len(), 1)?;
        Ok(messages.remove(0))
    }

    pub(super) async fn delete(&self, receipt: &str) -> Verdict {
        self.client.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await?;
        Ok(())
    }

    /// The result as the SDK has it, for checks of refusals.
    pub(super) async fn change(
        &self,
        receipt: &str,
        visibility_s: i32,
    ) -> Result<
        aws_sdk_sqs::operation::change_message_visibility::ChangeMessageVisibilityOutput,
        SdkError<aws_sdk_sqs::operation::change_message_visibility::ChangeMessageVisibilityError>,
    > {
        let request = self.client.change_message_visibility().queue_url(&self.url);
        request.receipt_handle(receipt).visibility_timeout(visibility_s).send().await
    }

    /// One attribute of the queue, as a text.
    pub(super) async fn attribute(&self, name: QueueAttributeName) -> Result<String, Difference> {
        let asked = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(name.clone());
        let attributes = asked.send().await?.attributes.unwrap_or_default();
        attributes.get(&name).cloned().ok_or_else(|| Difference(format!("no attribute {name}")))
    }
}

pub(super) fn receipt(message: &Message) -> &str {
    message.receipt_handle().unwrap_or_default()
}

/// A system attribute of a message; empty if it is not there.
pub(super) fn system(message: &Message, name: MessageSystemAttributeName) -> &str {
    message.attributes().and_then(|attributes| attributes.get(&name)).map_or("", String::as_str)
}
