//! The calls without the SDK's client, which spends several times on a request what the request costs.
//!
//! What is decided outside of a call is the SDK's own: endpoint, region, credentials and their cache, connections, TLS, proxies,
//! clock ([`parts`]). What is done here: the JSON of three requests and their answers, what of a request is signed, and telling errors
//! apart. `tests/differential.rs` holds both ways to the same outcome.

mod answer;
mod attempt;
mod clock;
mod entries;
mod json;
mod parts;
mod refusal;
mod request;
mod signature;

use std::time::Duration;

use async_trait::async_trait;

use self::attempt::{Attempts, Operation};
use self::parts::Parts;
use self::request::Receive;
use super::{Ask, CHANGE_VISIBILITY, Calls, DELETE, RECEIVE, Received};
use crate::batch::Outcomes;
use crate::client::Clients;
use crate::failure::Failure;

/// Without the SDK's client, with its parts.
#[derive(Debug)]
pub(crate) struct LeanCalls {
    attempts: Attempts,
    ask: Ask,
    receive: Receive,
    operations: Operations,
}

#[derive(Debug)]
struct Operations {
    receive: Operation,
    delete: Operation,
    extend: Operation,
}

impl LeanCalls {
    /// Takes from the SDK's client what a call needs; nothing is sent.
    pub(crate) async fn new(clients: &Clients, ask: Ask) -> Result<Self, Failure> {
        let parts = Parts::take(&clients.receiving).await?;
        let limit = |client: &aws_sdk_sqs::Client| {
            client.config().timeout_config().and_then(|timeouts| timeouts.operation_attempt_timeout())
        };
        let operation = |name, target, limit: Option<Duration>| Operation {
            name,
            target,
            limit: limit.unwrap_or(Duration::MAX),
        };
        let (receiving, settling) = (limit(&clients.receiving), limit(&clients.settling));
        let operations = Operations {
            receive: operation(RECEIVE, "AmazonSQS.ReceiveMessage", receiving),
            delete: operation(DELETE, "AmazonSQS.DeleteMessageBatch", settling),
            extend: operation(CHANGE_VISIBILITY, "AmazonSQS.ChangeMessageVisibilityBatch", settling),
        };
        Ok(Self { attempts: Attempts::new(parts), receive: Receive::new(&ask), ask, operations })
    }
}

#[async_trait]
impl Calls for LeanCalls {
    async fn receive(&self, max: usize) -> Result<Received, Failure> {
        let operation = &self.operations.receive;
        let answer = self.attempts.call(operation, self.receive.body(max)).await?;
        answer::received(answer.body(), &self.ask.keys).map_err(|_| answer.unreadable(operation))
    }

    async fn delete(&self, handles: &[&str]) -> Result<Outcomes, Failure> {
        let operation = &self.operations.delete;
        let answer = self.attempts.call(operation, request::delete(&self.ask.queue_url, handles)).await?;
        entries::outcomes(answer.body(), operation.name, handles.len())
            .map_err(|_| answer.unreadable(operation))
    }

    async fn extend(&self, handles: &[&str], seconds: i32) -> Result<Outcomes, Failure> {
        let operation = &self.operations.extend;
        let body = request::change_visibility(&self.ask.queue_url, handles, seconds);
        let answer = self.attempts.call(operation, body).await?;
        entries::outcomes(answer.body(), operation.name, handles.len())
            .map_err(|_| answer.unreadable(operation))
    }
}
