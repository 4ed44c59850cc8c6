//! The calls that every message costs: receiving, deleting, extending. There are two ways to make them, and what a source does
//! with an answer does not depend on which it is.

mod lean;
mod sdk;

use std::fmt;

use async_trait::async_trait;
use fetch_etl_core::Delivery;

use crate::batch::Outcomes;
use crate::failure::Failure;
use crate::message::KeyAttributes;

pub(crate) use lean::LeanCalls;
pub(crate) use sdk::{SdkCalls, change_visibility, delete};

pub(crate) const RECEIVE: &str = "ReceiveMessage";
pub(crate) const DELETE: &str = "DeleteMessageBatch";
pub(crate) const CHANGE_VISIBILITY: &str = "ChangeMessageVisibilityBatch";

/// One request each, without a retry: the pipeline repeats them.
#[async_trait]
pub(crate) trait Calls: fmt::Debug + Send + Sync {
    async fn receive(&self, max: usize) -> Result<Received, Failure>;

    async fn delete(&self, handles: &[&str]) -> Result<Outcomes, Failure>;

    async fn extend(&self, handles: &[&str], seconds: i32) -> Result<Outcomes, Failure>;
}

/// What a receive brought.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) deliveries: Vec<Delivery>,
    /// Messages without an id or a receipt, which nobody could settle.
    pub(crate) incomplete: usize,
}

/// What every receive asks for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) queue_url: String,
    pub(crate) wait_s: i32,
    /// Also where it is the queue's own: it can be changed there any time, and `limits` is for life.
    pub(crate) lease_s: i32,
    pub(crate) keys: KeyAttributes,
}
