use std::sync::Arc;

use tokio::sync::watch;

/// A place where fakes wait until the test lets them pass, and where the test can wait for them to arrive.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use fetch_etl_testing::Gate;
///
/// let gate = Gate::closed();
/// let waiter = tokio::spawn({
///     let gate = gate.clone();
///     async move { gate.pass().await }
/// });
/// gate.reached(1).await; // the task stands at the gate
/// gate.open();
/// waiter.await.unwrap();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug)]
struct State {
    open: bool,
    arrived: usize,
}

impl Gate {
    /// A gate that holds up whoever comes.
    pub fn closed() -> Self {
        Self { state: Arc::new(watch::Sender::new(State { open: false, arrived: 0 })) }
    }

    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        self.state.send_modify(|state| state.open = true);
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        let mut state = self.state.subscribe();
        self.state.send_modify(|state| state.arrived += 1);
        // This gate owns the sender, so the channel cannot close under the wait.
        let _ = state.wait_for(|state| state.open).await;
    }

    /// Waits until at least `count` have come to the gate, whether they passed it or not.
    pub async fn reached(&self, count: usize) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.arrived >= count).await;
    }
}
