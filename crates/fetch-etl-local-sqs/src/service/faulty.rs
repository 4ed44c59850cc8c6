//! Calls that go wrong as a whole.

use std::sync::Arc;

use super::{Call, Reply, Service};
use crate::clock::Millis;
use crate::error::{ErrorKind, SqsError};
use crate::fault::{FaultKind, FaultPlan};
use crate::queue::Queue;
use crate::state::QueueState;
use crate::wire::request::{QueueUrl, parse};

/// In the order in which they take precedence.
const BEFORE_THE_EFFECT: [FaultKind; 4] =
    [FaultKind::Throttle, FaultKind::InternalError, FaultKind::Drop, FaultKind::CutBefore];
const AFTER_THE_EFFECT: [FaultKind; 2] = [FaultKind::InternalErrorAfter, FaultKind::CutAfter];

/// What befalls one call.
#[derive(Default)]
struct CallFault {
    /// With what the dice left over.
    kind: Option<(FaultKind, u64)>,
    late_by: Option<Millis>,
}

impl CallFault {
    /// Throws the dice for every kind, also when an earlier one has won, so that the n-th call of a queue is the n-th
    /// throw for each.
    fn throw(state: &mut QueueState) -> Self {
        let before = first(state, &BEFORE_THE_EFFECT);
        let after = first(state, &AFTER_THE_EFFECT);
        let slow = state.throw(FaultKind::Slow).filter(|_| before.is_none());
        let kind = before.or(after);
        kind.iter().for_each(|(kind, _)| state.happened(*kind));
        let late_by = slow.and_then(|_| state.fault_plan()).map(FaultPlan::slow_ms);
        if late_by.is_some() {
            state.happened(FaultKind::Slow);
        }
        Self { kind, late_by }
    }
}

fn first(state: &mut QueueState, kinds: &[FaultKind]) -> Option<(FaultKind, u64)> {
    kinds.iter().fold(None, |first, kind| {
        let thrown = state.throw(*kind);
        first.or(thrown.map(|left_over| (*kind, left_over)))
    })
}

impl Service {
    pub(super) async fn exchange_with_faults(&self, call: &Call<'_>) -> Reply {
        let fault = self.victim(call).and_then(|(queue, sends)| {
            let throw = |state: &mut QueueState, _| {
                let befallen = state.fault_plan().is_some_and(|plan| !sends || plan.befalls_sends());
                befallen.then(|| CallFault::throw(state))
            };
            // A queue that was deleted in between is the call's own business.
            queue.with(throw).ok().flatten()
        });
        let CallFault { kind, late_by } = fault.unwrap_or_default();
        match kind {
            Some((FaultKind::Throttle, coin)) => return Reply::Whole(Err(throttled(coin % 2 == 0))),
            Some((FaultKind::InternalError, _)) => return Reply::Whole(Err(internal_error())),
            Some((FaultKind::Drop, _)) => return Reply::Reset,
            Some((FaultKind::CutBefore, _)) => return Reply::Closed,
            _ => {}
        }
        let result = self.perform(call).await;
        if let Some(late_by) = late_by {
            self.wait(late_by).await;
        }
        match kind {
            Some((FaultKind::InternalErrorAfter, _)) => Reply::Whole(Err(internal_error())),
            Some((FaultKind::CutAfter, _)) => Reply::Half(result),
            _ => Reply::Whole(result),
        }
    }

    /// The queue whose faults concern this call, and whether the call sends.
    fn victim(&self, call: &Call<'_>) -> Option<(Arc<Queue>, bool)> {
        let sends = match call.operation {
            "SendMessage" | "SendMessageBatch" => true,
            "ReceiveMessage"
            | "DeleteMessage"
            | "DeleteMessageBatch"
            | "ChangeMessageVisibility"
            | "ChangeMessageVisibilityBatch" => false,
            // Those that make, look at or empty queues: whoever sets up or watches a test relies on them.
            _ => return None,
        };
        // What is wrong with the request will be said by the operation itself.
        let request: QueueUrl<'_> = parse(call.body).ok()?;
        Some((self.registry.get(&request.queue_url).ok()?, sends))
    }

    /// Lets time pass, but holds up no shutdown.
    async fn wait(&self, millis: Millis) {
        let clock = &self.registry.clock;
        tokio::select! {
            () = clock.sleep_until(clock.now().saturating_add(millis)) => {}
            () = self.shutdown.cancelled() => {}
        }
    }
}

fn internal_error() -> SqsError {
    SqsError::new(ErrorKind::Internal, "We encountered an internal error. Please try again.")
}

/// The service's own exception, or the one that all services have in common.
fn throttled(by_queue: bool) -> SqsError {
    if by_queue {
        SqsError::new(ErrorKind::RequestThrottled, "The request was denied due to request throttling.")
    } else {
        SqsError::new(ErrorKind::Throttling, "Rate exceeded")
    }
}
