//! The operations on queues.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Call, Service, check};
use crate::error::SqsError;
use crate::limits::MAX_PAGE;
use crate::settings::{Settings, unknown_attribute};
use crate::wire::request::{
    CreateQueue, GetQueueAttributes, ListQueues, QueueName, QueueUrl, SetQueueAttributes,
};
use crate::wire::response::Outcome;

/// Attributes that a queue can have and GetQueueAttributes can be asked for.
const KNOWN: [&str; 22] = [
    "All",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "ContentBasedDeduplication",
    "CreatedTimestamp",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "LastModifiedTimestamp",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "QueueArn",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

impl Service {
    pub(super) fn create_queue(
        &self,
        call: &Call<'_>,
        request: &CreateQueue<'_>,
    ) -> Result<Outcome, SqsError> {
        let named = borrow(&request.attributes);
        let mut settings = Settings::default();
        settings.update(named.iter().map(|(name, value)| (*name, *value)))?;
        let queue = self.registry.create(&request.queue_name, settings, &named)?;
        Ok(Outcome::QueueUrl(call.queue_url(&queue.name)))
    }

    pub(super) fn delete_queue(&self, request: &QueueUrl<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        self.registry.delete(&queue.name)?;
        Ok(Outcome::Done)
    }

    pub(super) fn get_queue_url(
        &self,
        call: &Call<'_>,
        request: &QueueName<'_>,
    ) -> Result<Outcome, SqsError> {
        if request.queue_name.is_empty() {
            return Err(SqsError::missing("QueueName"));
        }
        let queue = self.registry.get(&request.queue_name)?;
        Ok(Outcome::QueueUrl(call.queue_url(&queue.name)))
    }

    pub(super) fn list_queues(&self, call: &Call<'_>, request: &ListQueues) -> Result<Outcome, SqsError> {
        let limit = request.max_results.unwrap_or(MAX_PAGE);
        let limit = check::in_range(limit, 1, MAX_PAGE).ok_or_else(|| {
            SqsError::out_of_range(limit, "MaxResults", "MaxResults must be an integer between 1 and 1000.")
        })?;
        let after = request.next_token.as_deref().map(decode_token).transpose()?;
        let prefix = request.queue_name_prefix.as_deref().unwrap_or_default();
        let (names, more) = self.registry.list(prefix, after.as_deref(), limit as usize);
        // Without MaxResults the service gives no token either, and cuts the list at 1,000.
        let last = names.last().filter(|_| more && request.max_results.is_some());
        let next_token = last.map(|name: &Arc<str>| URL_SAFE_NO_PAD.encode(&**name));
        Ok(Outcome::QueueUrls { urls: names.iter().map(|name| call.queue_url(name)).collect(), next_token })
    }

    pub(super) fn get_queue_attributes(&self, request: &GetQueueAttributes<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        if let Some(unknown) = request.attribute_names.iter().find(|name| !KNOWN.contains(&&***name)) {
            return Err(unknown_attribute(unknown));
        }
        let attributes = queue.with(|state, now| {
            let stats = state.stats(now, 0);
            let mut attributes: BTreeMap<&'static str, String> = state.settings.list().collect();
            attributes.extend([
                ("ApproximateNumberOfMessages", stats.ready.to_string()),
                ("ApproximateNumberOfMessagesDelayed", stats.delayed.to_string()),
                ("ApproximateNumberOfMessagesNotVisible", stats.in_flight.to_string()),
                ("CreatedTimestamp", (state.created_at / 1000).to_string()),
                ("LastModifiedTimestamp", (state.modified_at / 1000).to_string()),
                ("QueueArn", queue.arn.to_string()),
            ]);
            attributes
        })?;
        let wanted =
            |name: &str| request.attribute_names.iter().any(|wanted| wanted == "All" || wanted == name);
        Ok(Outcome::Attributes(attributes.into_iter().filter(|(name, _)| wanted(name)).collect()))
    }

    pub(super) fn set_queue_attributes(&self, request: &SetQueueAttributes<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        if request.attributes.is_empty() {
            return Err(SqsError::missing("Attribute.Name"));
        }
        self.registry.set_attributes(&queue, &borrow(&request.attributes))?;
        Ok(Outcome::Done)
    }

    /// The real service allows one purge a minute and takes its time; this one is done when it answers, and there
    /// can be any number.
    pub(super) fn purge_queue(&self, request: &QueueUrl<'_>) -> Result<Outcome, SqsError> {
        let queue = self.queue(&request.queue_url)?;
        let purged = queue.with(|state, _| state.purge())?;
        drop(purged);
        Ok(Outcome::Done)
    }
}

fn borrow<'a>(attributes: &'a BTreeMap<Cow<'_, str>, Cow<'_, str>>) -> BTreeMap<&'a str, &'a str> {
    attributes.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn decode_token(token: &str) -> Result<String, SqsError> {
    let name = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| SqsError::invalid_parameter("Invalid or expired next token."))
}
