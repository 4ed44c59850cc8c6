//! A queue as the process that runs the server sees it: no HTTP, no JSON.

use std::fmt;
use std::sync::Arc;

use crate::attribute::Attribute;
use crate::error::SqsError;
use crate::fault::FaultPlan;
use crate::message::{Draft, check_text};
use crate::queue::Queue;
use crate::state::QueueStats;

/// Messages that are put into a queue in one critical section: long enough to be cheap, short enough to let others in.
const CHUNK: usize = 1_000;

/// Why a message could not be put into a queue.
///
/// The text says which limit or rule of SQS it broke, and nothing of the message.
#[derive(Debug, thiserror::Error)]
#[error("failed to send the message at position {position}: {source}")]
pub struct SendError {
    /// How many messages came before this one.
    pub position: usize,
    source: SqsError,
}

/// Fills, watches and empties one queue from inside the process.
#[derive(Clone)]
pub struct QueueHandle {
    queue: Arc<Queue>,
}

impl fmt::Debug for QueueHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueueHandle").field(&self.queue.name).finish()
    }
}

impl QueueHandle {
    pub(crate) fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.queue.name
    }

    /// The queue's ARN, as redrive policies name it.
    pub fn arn(&self) -> &str {
        &self.queue.arn
    }

    /// Sends messages with the checks of SendMessage, and returns how many.
    ///
    /// # Errors
    /// The first message that SQS would refuse ends it; those before it may have been sent.
    pub fn send_many<B: Into<String>>(
        &self,
        bodies: impl IntoIterator<Item = B>,
    ) -> Result<usize, SendError> {
        self.put(bodies.into_iter().map(|body| {
            let body = body.into();
            if body.is_empty() {
                return Err(SqsError::missing("MessageBody"));
            }
            check_text(&body).map(|()| Draft::new(body))
        }))
    }

    /// Puts messages in that SendMessage would refuse for what they contain: empty ones, or ones with control
    /// characters. No SQS client can send them, but other producers than SQS can, and a decoder has to bear them.
    ///
    /// # Errors
    /// A message longer than the queue's limit ends it; those before it may have been put in.
    pub fn inject<B: Into<String>>(&self, bodies: impl IntoIterator<Item = B>) -> Result<usize, SendError> {
        self.put(bodies.into_iter().map(|body| Ok(Draft::new(body.into()))))
    }

    /// As [`inject`](Self::inject), each body with message attributes: names and values of the type String.
    ///
    /// # Errors
    /// A message longer than the queue's limit, or an attribute that SendMessage would refuse, ends it; those before it may
    /// have been put in.
    pub fn inject_with_attributes<'m>(
        &self,
        messages: impl IntoIterator<Item = (&'m str, &'m [(String, String)])>,
    ) -> Result<usize, SendError> {
        self.put(messages.into_iter().map(|(body, attributes)| {
            let attributes = attributes.iter().map(|(name, value)| Attribute::text(name, value));
            Ok(Draft::new(body).with_attributes(attributes.collect::<Result<_, _>>()?))
        }))
    }

    fn put(&self, drafts: impl Iterator<Item = Result<Draft, SqsError>>) -> Result<usize, SendError> {
        // Checks and digests take most of the time, and none of it is spent with the queue locked.
        let mut drafts = drafts
            .enumerate()
            .map(|(position, draft)| draft.map_err(|source| SendError { position, source }));
        let mut sent = 0;
        loop {
            let chunk = drafts.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>()?;
            if chunk.is_empty() {
                return Ok(sent);
            }
            sent = self.put_chunk(sent, chunk)?;
        }
    }

    /// Sends the drafts that follow `sent` others, and returns how many that makes.
    fn put_chunk(&self, sent: usize, drafts: Vec<Draft>) -> Result<usize, SendError> {
        let put_all = self.queue.with(|state, now| {
            drafts.into_iter().try_fold(sent, |position, draft| {
                state.send(now, draft).map(|_| position + 1).map_err(|source| SendError { position, source })
            })
        });
        put_all.map_err(|source| SendError { position: sent, source })?
    }

    /// The queue's figures at this moment.
    pub fn stats(&self) -> QueueStats {
        self.queue.stats()
    }

    /// Waits until the queue's figures are as `wanted`, and returns them.
    ///
    /// ```no_run
    /// # async fn f(queue: fetch_etl_local_sqs::QueueHandle) {
    /// queue.until(|stats| stats.deleted == 100).await;
    /// # }
    /// ```
    pub async fn until(&self, wanted: impl FnMut(&QueueStats) -> bool) -> QueueStats {
        self.queue.until(wanted).await
    }

    /// Lets things go wrong in this queue as planned, instead of the plan before. The dice start afresh, the counts in
    /// [`stats`](Self::stats) go on.
    pub fn faults(&self, plan: FaultPlan) {
        self.queue.set_faults(plan);
    }

    /// The plan that is at work; an empty one if nothing goes wrong on purpose.
    pub fn fault_plan(&self) -> FaultPlan {
        self.queue.fault_plan()
    }

    /// Lets nothing go wrong on purpose from now on.
    pub fn clear_faults(&self) {
        self.queue.set_faults(FaultPlan::default());
    }

    /// Takes all messages out of the queue.
    pub fn purge(&self) {
        // A queue that was deleted in between has no messages either.
        drop(self.queue.with(|state, _| state.purge()));
    }
}
