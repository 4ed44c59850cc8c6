//! SIGTERM and SIGINT: the first asks for a stop, the second ends the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A token that the first signal cancels. The second signal ends the process at once with 128 + its number, as a
/// shell reports a process that a signal killed; what was in flight comes back when its leases end.
///
/// # Errors
/// The process cannot listen for signals.
pub fn cancel_on_signal() -> io::Result<CancellationToken> {
    cancel_on_signal_and(|| {})
}

/// As [`cancel_on_signal`], and does one thing more before the second signal ends the process, such as to tell what was in
/// flight: it should be quick.
///
/// # Errors
/// The process cannot listen for signals.
pub(crate) fn cancel_on_signal_and(
    at_force: impl FnOnce() + Send + 'static,
) -> io::Result<CancellationToken> {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let first = signals.next().await;
        info!(
            event = "shutdown_requested",
            signal = first.name,
            "finishing what was received; a second signal ends at once"
        );
        stop.cancel();
        let second = signals.next().await;
        warn!(
            event = "shutdown_forced",
            signal = second.name,
            "ending at once; what is in flight comes back to the queue"
        );
        at_force();
        std::process::exit(128 + second.number);
    });
    Ok(token)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

struct Received {
    name: &'static str,
    number: i32,
}

impl Signals {
    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received { name: "SIGTERM", number: SignalKind::terminate().as_raw_value() },
            _ = self.interrupt.recv() => Received { name: "SIGINT", number: SignalKind::interrupt().as_raw_value() },
        }
    }
}
