//! The operations: from a parsed request to its effect and its typed answer.

mod check;
mod faulty;
mod messages;
mod queues;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, SqsError};
use crate::queue::Queue;
use crate::registry::{ACCOUNT, Registry};
use crate::wire::request::parse;
use crate::wire::response::Outcome;

/// One request, as far as the operations care.
pub(crate) struct Call<'a> {
    /// The operation's name, from the `X-Amz-Target` header.
    pub(crate) operation: &'a str,
    /// The host and port by which the client reached this server: queue URLs in answers begin with it.
    pub(crate) host: &'a str,
    pub(crate) body: &'a [u8],
}

impl Call<'_> {
    fn queue_url(&self, name: &str) -> String {
        format!("http://{}/{ACCOUNT}/{name}", self.host)
    }
}

/// How a call ends, as its client sees it.
pub(crate) enum Reply {
    Whole(Result<Outcome, SqsError>),
    /// The answer is cut off in the middle, and with it the connection.
    Half(Result<Outcome, SqsError>),
    /// The connection is closed without an answer.
    Closed,
    /// The connection is reset without an answer.
    Reset,
}

/// Everything that serves calls.
pub(crate) struct Service {
    pub(crate) registry: Registry,
    /// Ends long polls when the server stops.
    pub(crate) shutdown: CancellationToken,
}

impl Service {
    /// The seam between the HTTP side and the queues: every call passes here, its effect and its answer one after
    /// the other. Before the effect there is the request, after it the typed outcome, with one result for each entry
    /// of a batch. Whatever refuses, delays, falsifies or loses calls on purpose belongs here and nowhere else.
    pub(crate) async fn exchange(&self, call: Call<'_>) -> Reply {
        if self.registry.calls_may_fail() {
            return self.exchange_with_faults(&call).await;
        }
        Reply::Whole(self.perform(&call).await)
    }

    async fn perform(&self, call: &Call<'_>) -> Result<Outcome, SqsError> {
        let body = call.body;
        match call.operation {
            "ReceiveMessage" => self.receive_message(parse(body)?).await,
            "DeleteMessage" => self.delete_message(&parse(body)?),
            "DeleteMessageBatch" => self.delete_message_batch(&parse(body)?),
            "ChangeMessageVisibility" => self.change_message_visibility(&parse(body)?),
            "ChangeMessageVisibilityBatch" => self.change_message_visibility_batch(&parse(body)?),
            "SendMessage" => self.send_message(parse(body)?),
            "SendMessageBatch" => self.send_message_batch(parse(body)?),
            "CreateQueue" => self.create_queue(call, &parse(body)?),
            "DeleteQueue" => self.delete_queue(&parse(body)?),
            "GetQueueAttributes" => self.get_queue_attributes(&parse(body)?),
            "GetQueueUrl" => self.get_queue_url(call, &parse(body)?),
            "ListQueues" => self.list_queues(call, &parse(body)?),
            "PurgeQueue" => self.purge_queue(&parse(body)?),
            "SetQueueAttributes" => self.set_queue_attributes(&parse(body)?),
            other => Err(SqsError::new(
                ErrorKind::InvalidAction,
                format!("The action {other} is not valid for this server."),
            )),
        }
    }

    fn queue(&self, url: &str) -> Result<Arc<Queue>, SqsError> {
        if url.is_empty() {
            return Err(SqsError::missing("QueueUrl"));
        }
        self.registry.get(url)
    }
}
