//! Waiting at start for what is not up yet: in a cluster the database and the queue may come later than the worker.

use std::fmt;
use std::time::Duration;

use fetch_etl_core::ErrorClass;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Tries until it works, fails for good, or a stop is asked for (`None`). Each failure that may pass is one log line.
///
/// # Errors
/// It failed in a way that does not pass by itself.
pub(crate) async fn until_ready<T, E, F>(
    what: &str,
    stop: &CancellationToken,
    class: impl Fn(&E) -> ErrorClass,
    mut attempt: impl FnMut() -> F,
) -> Result<Option<T>, E>
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let mut wait = FIRST_WAIT;
    let mut waited = false;
    loop {
        // Workers that start together must not knock together.
        let jittered = wait.mul_f64(0.5 + fastrand::f64() / 2.0);
        let outcome = tokio::select! {
            outcome = attempt() => outcome,
            () = stop.cancelled() => return Ok(None),
        };
        match outcome {
            Ok(value) => {
                if waited {
                    info!(event = "ready", part = what, "{what} answers");
                }
                return Ok(Some(value));
            }
            Err(error) if class(&error) == ErrorClass::Retryable => {
                let retry_in_ms = u64::try_from(jittered.as_millis()).unwrap_or(u64::MAX);
                warn!(event = "not_ready", part = what, error = %error, retry_in_ms, "{what} is not ready; trying again");
            }
            Err(error) => return Err(error),
        }
        waited = true;
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = stop.cancelled() => return Ok(None),
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(
        results: Vec<Result<u8, ErrorClass>>,
        stop: &CancellationToken,
    ) -> (Result<Option<u8>, ErrorClass>, usize) {
        let mut results = results.into_iter();
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            std::future::ready(results.next().unwrap())
        };
        let outcome = until_ready("the thing", stop, |class: &ErrorClass| *class, attempt).await;
        (outcome, tries)
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_and_what_does_not_is_not() {
        use ErrorClass::{Fatal, Retryable};
        let stop = CancellationToken::new();
        assert_eq!(outcome(vec![Err(Retryable), Err(Retryable), Ok(7)], &stop).await, (Ok(Some(7)), 3));
        assert_eq!(outcome(vec![Err(Retryable), Err(Fatal), Ok(7)], &stop).await, (Err(Fatal), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_waiting() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(outcome(vec![Err(ErrorClass::Retryable)], &stop).await.0, Ok(None));
    }
}
