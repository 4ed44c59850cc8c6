//! The calls by the SDK's client: the reference for the other way.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
};

use super::{Ask, CHANGE_VISIBILITY, Calls, DELETE, RECEIVE, Received};
use crate::batch::{self, Outcomes};
use crate::failure::{Failure, Reason};
use crate::message::Incoming;

/// The SDK's clients, each with its own time limit.
#[derive(Debug)]
pub(crate) struct SdkCalls {
    pub(crate) receiving: Client,
    pub(crate) settling: Client,
    pub(crate) ask: Ask,
}

#[async_trait]
impl Calls for SdkCalls {
    async fn receive(&self, max: usize) -> Result<Received, Failure> {
        let ask = &self.ask;
        let request = self
            .receiving
            .receive_message()
            .queue_url(&ask.queue_url)
            .max_number_of_messages(max as i32)
            .wait_time_seconds(ask.wait_s)
            .visibility_timeout(ask.lease_s)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader)
            .set_message_attribute_names(Some(ask.keys.names()));
        // The answer derives Debug, with the bodies: it is taken apart here and not passed on.
        let answer = request.send().await.map_err(|error| Failure::of(RECEIVE, &error))?;
        let messages = answer.messages.unwrap_or_default();
        let received = messages.len();
        let deliver = |message| Incoming::of_sdk(message, &ask.keys).into_delivery();
        let deliveries: Vec<_> = messages.into_iter().filter_map(deliver).collect();
        Ok(Received { incomplete: received - deliveries.len(), deliveries })
    }

    async fn delete(&self, handles: &[&str]) -> Result<Outcomes, Failure> {
        delete(&self.settling, &self.ask.queue_url, handles).await
    }

    async fn extend(&self, handles: &[&str], seconds: i32) -> Result<Outcomes, Failure> {
        change_visibility(&self.settling, &self.ask.queue_url, handles, seconds).await
    }
}

pub(crate) async fn delete(client: &Client, queue_url: &str, handles: &[&str]) -> Result<Outcomes, Failure> {
    let entry = |(index, handle): (usize, &&str)| {
        DeleteMessageBatchRequestEntry::builder()
            .id(batch::id(index))
            .receipt_handle(*handle)
            .build()
            .map_err(|_| Failure::of_entry(DELETE, Reason::NotBuilt, None))
    };
    let entries = handles.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    let request = client.delete_message_batch().queue_url(queue_url).set_entries(Some(entries));
    let answer = request.send().await.map_err(|error| Failure::of(DELETE, &error))?;
    let successful = answer.successful().iter().map(|entry| entry.id());
    Ok(Outcomes::new(DELETE, handles.len(), successful, answer.failed().iter().map(Into::into)))
}

pub(crate) async fn change_visibility(
    client: &Client,
    queue_url: &str,
    handles: &[&str],
    seconds: i32,
) -> Result<Outcomes, Failure> {
    let entry = |(index, handle): (usize, &&str)| {
        ChangeMessageVisibilityBatchRequestEntry::builder()
            .id(batch::id(index))
            .receipt_handle(*handle)
            .visibility_timeout(seconds)
            .build()
            .map_err(|_| Failure::of_entry(CHANGE_VISIBILITY, Reason::NotBuilt, None))
    };
    let entries = handles.iter().enumerate().map(entry).collect::<Result<_, _>>()?;
    let request = client.change_message_visibility_batch().queue_url(queue_url).set_entries(Some(entries));
    let answer = request.send().await.map_err(|error| Failure::of(CHANGE_VISIBILITY, &error))?;
    let successful = answer.successful().iter().map(|entry| entry.id());
    Ok(Outcomes::new(CHANGE_VISIBILITY, handles.len(), successful, answer.failed().iter().map(Into::into)))
}
