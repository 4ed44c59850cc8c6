//! Calls that go wrong as a whole.

use std::sync::Arc;

use super::{Call, Reply, Service};
use crate::clock::Millis;
use crate::error::{ErrorKind, SqsError};
use crate::fault::{CallAction, FaultKind, FaultPlan};
use crate::queue::Queue;
use crate::state::QueueState;
use crate::wire::request::{QueueName, QueueUrl, parse};

/// In the order in which they take precedence.
const BEFORE_THE_EFFECT: [FaultKind; 4] =
    [FaultKind::Throttle, FaultKind::InternalError, FaultKind::Drop, FaultKind::CutBefore];
const AFTER_THE_EFFECT: [FaultKind; 2] = [FaultKind::InternalErrorAfter, FaultKind::CutAfter];

/// What befalls one call.
#[derive(Default)]
struct CallFault {
    /// Before the effect, which there is none of then; with what the dice left over.
    before: Option<(FaultKind, u64)>,
    after: Option<FaultKind>,
    held_up_by: Option<Millis>,
    late_by: Option<Millis>,
}

impl CallFault {
    /// Throws the dice for every kind, also when an earlier one has won, so that the n-th call of a queue is the n-th
    /// throw for each.
    fn throw(state: &mut QueueState) -> Self {
        let before = first(state, &BEFORE_THE_EFFECT);
        let after = first(state, &AFTER_THE_EFFECT).map(|(kind, _)| kind).filter(|_| before.is_none());
        let slow = state.throw(FaultKind::Slow).filter(|_| before.is_none());
        if let Some((kind, _)) = before {
            state.happened(kind);
        }
        let slow_before = state.throw(FaultKind::SlowBefore).filter(|_| before.is_none());
        let slow_ms = state.fault_plan().map(FaultPlan::slow_ms);
        let held_up_by = slow_before.and(slow_ms);
        if held_up_by.is_some() {
            state.happened(FaultKind::SlowBefore);
        }
        let fault = Self { before, after, held_up_by, late_by: slow.and(slow_ms) };
        fault.after_the_effect().for_each(|kind| state.will_happen(kind));
        fault
    }

    fn after_the_effect(&self) -> impl Iterator<Item = FaultKind> {
        self.after.into_iter().chain(self.late_by.map(|_| FaultKind::Slow))
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
        let Some((queue, action)) = self.victim(call) else { return Reply::Whole(self.perform(call).await) };
        let throw = |state: &mut QueueState, _| {
            let befallen = state.fault_plan().is_some_and(|plan| plan.befalls(action));
            befallen.then(|| CallFault::throw(state))
        };
        // A queue that was deleted in between is the call's own business.
        let fault = queue.with(throw).ok().flatten().unwrap_or_default();
        match fault.before {
            Some((FaultKind::Throttle, coin)) => return Reply::Whole(Err(throttled(coin % 2 == 0))),
            Some((FaultKind::Drop, _)) => return Reply::Reset,
            Some((FaultKind::CutBefore, _)) => return Reply::Closed,
            Some(_) => return Reply::Whole(Err(internal_error())),
            None => {}
        }
        if let Some(held_up_by) = fault.held_up_by {
            self.wait(held_up_by).await;
        }
        let result = self.perform(call).await;
        // Now, and not when the answer is sent or lost: whoever waits for the count is to find the effect, and may then
        // do to the client what it would not survive.
        let _ = queue.with(|state, _| fault.after_the_effect().for_each(|kind| state.has_happened(kind)));
        if let Some(late_by) = fault.late_by {
            self.wait(late_by).await;
        }
        match fault.after {
            Some(FaultKind::CutAfter) => Reply::Half(result),
            Some(_) => Reply::Whole(Err(internal_error())),
            None => Reply::Whole(result),
        }
    }

    /// The queue whose faults may concern this call, and what the call does.
    fn victim(&self, call: &Call<'_>) -> Option<(Arc<Queue>, CallAction)> {
        let action = CallAction::of(call.operation)?;
        // What is wrong with the request will be said by the operation itself.
        let queue = match action {
            CallAction::GetUrl => self.registry.get(&parse::<QueueName<'_>>(call.body).ok()?.queue_name),
            _ => self.registry.get(&parse::<QueueUrl<'_>>(call.body).ok()?.queue_url),
        };
        Some((queue.ok()?, action))
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
