//! One queue as calls see it: the state behind a lock, and those who wait for messages.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Millis};
use crate::error::SqsError;
use crate::fault::FaultPlan;
use crate::message::Received;
use crate::receipt::Seal;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::state::{Parcel, QueueState, QueueStats, Redrive, Taken};

/// The parameters of a receive that concern the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiveOptions {
    pub(crate) max: usize,
    /// `None`: the queue's own.
    pub(crate) visibility_s: Option<u32>,
    /// `None`: the queue's own.
    pub(crate) wait_s: Option<u32>,
}

pub(crate) struct Queue {
    pub(crate) name: Arc<str>,
    pub(crate) arn: Arc<str>,
    /// For the receipt handles of this queue's messages.
    pub(crate) seal: Seal,
    clock: Clock,
    state: Mutex<QueueState>,
    /// Wakes one long poll when messages became ready, all of them when a deadline came nearer or the queue goes.
    arrivals: Notify,
    /// Wakes whoever watches the figures.
    changes: Notify,
    waiting: AtomicUsize,
    /// Shared by all queues: set once one of them has faults that befall whole calls.
    calls_may_fail: Arc<AtomicBool>,
}

impl Queue {
    pub(crate) fn new(
        name: &str,
        arn: String,
        settings: Settings,
        clock: Clock,
        mut rng: Rng,
        calls_may_fail: Arc<AtomicBool>,
    ) -> Self {
        let seal = Seal::new(rng.u64(..));
        let state = QueueState::new(settings, clock.now(), rng);
        Self {
            name: name.into(),
            arn: arn.into(),
            seal,
            clock,
            state: Mutex::new(state),
            arrivals: Notify::new(),
            changes: Notify::new(),
            waiting: AtomicUsize::new(0),
            calls_may_fail,
        }
    }

    /// Does something to the queue in one critical section, and wakes those whom it concerns.
    ///
    /// Fails if the queue was deleted since it was looked up.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut QueueState, Millis) -> T) -> Result<T, SqsError> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.deleted {
            return Err(SqsError::no_such_queue());
        }
        let timer_before = state.next_timer();
        let result = act(&mut state, now);
        let has_ready = state.has_ready();
        let timer = state.next_timer();
        drop(state);
        if timer.is_some_and(|timer| timer_before.is_none_or(|before| timer < before)) {
            // Long polls sleep until the deadline that was the next one when they looked.
            self.arrivals.notify_waiters();
        }
        if has_ready {
            // One is enough: it passes the baton if it leaves something.
            self.arrivals.notify_one();
        }
        self.changes.notify_waiters();
        Ok(result)
    }

    /// Receives messages, waiting for the first if the wait time allows it.
    ///
    /// Messages are taken in the same poll of this future that returns them. If the client goes away while this
    /// waits, the future is dropped and takes nothing with it; a wake-up that it had got goes on to the next in line.
    pub(crate) async fn receive(
        &self,
        options: ReceiveOptions,
        registry: &Registry,
        shutdown: &CancellationToken,
    ) -> Result<Vec<Received>, SqsError> {
        let started = self.clock.now();
        let taken = self.take(options, registry)?;
        if !taken.messages.is_empty() || taken.wait_s == 0 {
            return Ok(taken.messages);
        }
        let deadline = started + Millis::from(taken.wait_s) * 1000;
        let _waiting = Waiting::new(self);
        loop {
            let arrival = self.arrivals.notified();
            tokio::pin!(arrival);
            // From here on no arrival is missed, so looking again before sleeping closes the gap.
            arrival.as_mut().enable();
            let taken = self.take(options, registry)?;
            if !taken.messages.is_empty() || self.clock.now() >= deadline {
                return Ok(taken.messages);
            }
            let wake_at = taken.next_timer.map_or(deadline, |timer| timer.min(deadline));
            tokio::select! {
                () = arrival => {}
                () = self.clock.sleep_until(wake_at) => {}
                () = shutdown.cancelled() => return Ok(Vec::new()),
            }
        }
    }

    /// Takes what is ready. Messages that were received too often go to the dead-letter queue on the way.
    fn take(&self, options: ReceiveOptions, registry: &Registry) -> Result<Look, SqsError> {
        let (taken, mut look) = self.look(options, Redrive::Apply)?;
        look.messages = taken.messages;
        if taken.dead.is_empty() {
            return Ok(look);
        }
        let target = look.dead_letter_queue.as_deref().and_then(|name| registry.get(name).ok());
        // Source and target are locked one after the other, never together, so that no two queues can deadlock.
        if let Some(target) = target {
            let mut dead = taken.dead.into_iter();
            let moved =
                target.with(|state, _| dead.by_ref().for_each(|parcel| state.accept(&self.arn, parcel)));
            if moved.is_ok() {
                return Ok(look);
            }
            // The target was deleted in between: nothing was consumed.
            return self.take_back(options, look, dead);
        }
        self.take_back(options, look, taken.dead.into_iter())
    }

    /// Without a dead-letter queue to go to, messages are delivered on and on.
    fn take_back(
        &self,
        options: ReceiveOptions,
        mut look: Look,
        dead: impl Iterator<Item = Parcel>,
    ) -> Result<Look, SqsError> {
        self.with(|state, _| dead.for_each(|parcel| state.take_back(parcel)))?;
        let max = options.max - look.messages.len();
        if max > 0 {
            match self.look(ReceiveOptions { max, ..options }, Redrive::Ignore) {
                Ok((more, _)) => look.messages.extend(more.messages),
                // What the first look took fills the queue's limit, and is on its way to the client.
                Err(_) if !look.messages.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(look)
    }

    fn look(&self, options: ReceiveOptions, redrive: Redrive) -> Result<(Taken, Look), SqsError> {
        self.with(|state, now| {
            let taken = state.receive(now, options.max, options.visibility_s, redrive)?;
            let target = state.settings.redrive.as_ref().filter(|_| !taken.dead.is_empty());
            let look = Look {
                messages: Vec::new(),
                next_timer: state.next_timer(),
                wait_s: options.wait_s.unwrap_or(state.settings.wait_s),
                dead_letter_queue: target.map(|policy| Arc::clone(&policy.target)),
            };
            Ok((taken, look))
        })?
    }

    /// Ends the queue: calls that are under way fail, long polls wake up to learn it.
    pub(crate) fn delete(&self) {
        let purged = {
            let mut state = self.lock();
            state.deleted = true;
            state.purge()
        };
        drop(purged);
        self.arrivals.notify_waiters();
        self.changes.notify_waiters();
    }

    pub(crate) fn stats(&self) -> QueueStats {
        let waiting = self.waiting.load(Ordering::Relaxed);
        self.lock().stats(self.clock.now(), waiting)
    }

    /// Puts a plan of faults to work; an empty one ends them.
    pub(crate) fn set_faults(&self, plan: FaultPlan) {
        if plan.befalls_calls() {
            self.calls_may_fail.store(true, Ordering::Relaxed);
        }
        self.lock().set_faults(plan, &self.name);
    }

    /// The plan of faults at work.
    pub(crate) fn fault_plan(&self) -> FaultPlan {
        self.lock().fault_plan().cloned().unwrap_or_default()
    }

    /// Waits until the figures are as `wanted`.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(&QueueStats) -> bool) -> QueueStats {
        loop {
            let change = self.changes.notified();
            tokio::pin!(change);
            change.as_mut().enable();
            let stats = self.stats();
            if wanted(&stats) {
                return stats;
            }
            let next_timer = self.lock().next_timer();
            match next_timer {
                None => change.await,
                Some(timer) => tokio::select! {
                    () = change => {}
                    () = self.clock.sleep_until(timer) => {}
                },
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // A panic inside a critical section would be a bug of the state machine; the other queues and the tests that
        // would show it are better served by going on than by a chain of poison errors.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a look into the queue brought.
struct Look {
    messages: Vec<Received>,
    next_timer: Option<Millis>,
    wait_s: u32,
    dead_letter_queue: Option<Arc<str>>,
}

/// Counts a long poll for as long as it lasts.
struct Waiting<'a>(&'a Queue);

impl<'a> Waiting<'a> {
    fn new(queue: &'a Queue) -> Self {
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        queue.changes.notify_waiters();
        Self(queue)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.changes.notify_waiters();
    }
}
