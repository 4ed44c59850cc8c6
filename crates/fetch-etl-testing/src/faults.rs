use std::collections::VecDeque;

use crate::Gate;

/// What goes wrong at one call of a fake.
#[derive(Debug, Clone)]
pub enum Fault<E> {
    /// Nothing is done; the call fails.
    Fail(E),
    /// All is done, and then the call fails: what a connection that is cut after the effect looks like.
    DoneThenFail(E),
    /// The call waits at the gate, then does as it should.
    Stall(Gate),
    /// The call panics before it does anything.
    Panic,
}

/// Faults that wait for their calls, and an outage that lasts.
#[derive(Debug)]
pub(crate) struct Script<E> {
    next: VecDeque<Fault<E>>,
    outage: Option<E>,
}

impl<E> Default for Script<E> {
    fn default() -> Self {
        Self { next: VecDeque::new(), outage: None }
    }
}

impl<E: Clone> Script<E> {
    pub(crate) fn push(&mut self, fault: Fault<E>) {
        self.next.push_back(fault);
    }

    pub(crate) fn set_outage(&mut self, error: Option<E>) {
        self.outage = error;
    }

    /// The fault of the call that is about to be made: scripted ones first, one for each call.
    pub(crate) fn take(&mut self) -> Option<Fault<E>> {
        self.next.pop_front().or_else(|| self.outage.clone().map(Fault::Fail))
    }
}

/// What is left of a fault once its call has begun.
pub(crate) enum Course<E> {
    /// Do as you should.
    Normal,
    /// Do nothing and fail.
    Fail(E),
    /// Do all and fail.
    DoneThenFail(E),
}

impl<E> Course<E> {
    /// Lives through the part of a fault that comes before the effect.
    ///
    /// # Panics
    /// When that is the fault.
    pub(crate) async fn begin(fault: Option<Fault<E>>) -> Self {
        match fault {
            None => Self::Normal,
            Some(Fault::Fail(error)) => Self::Fail(error),
            Some(Fault::DoneThenFail(error)) => Self::DoneThenFail(error),
            Some(Fault::Stall(gate)) => {
                gate.pass().await;
                Self::Normal
            }
            Some(Fault::Panic) => panic!("a scripted panic"),
        }
    }
}
