//! What both suites share: running named checks, and a readable list of what failed.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Longest that one check may take: a part that hangs breaks its contract, and is reported like any other that does.
const CHECK_LIMIT: Duration = Duration::from_secs(120);

/// A rule of a contract that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule, in the contract's words.
    pub rule: &'static str,
    /// What was seen instead.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.found)
    }
}

/// What a check found: nothing, or what it saw instead of what the rule says.
pub(crate) type Checked = Result<(), String>;

/// Runs one check.
pub(crate) async fn check(rule: &'static str, check: impl Future<Output = Checked>) -> Option<Violation> {
    let found = match tokio::time::timeout(CHECK_LIMIT, check).await {
        Ok(Ok(())) => return None,
        Ok(Err(found)) => found,
        Err(_) => format!("still not done after {CHECK_LIMIT:?}"),
    };
    Some(Violation { rule, found })
}

/// Fails the test with every violation, one a line.
///
/// # Panics
/// When there is a violation.
pub(crate) fn assert_none(contract: &str, violations: &[Violation]) {
    let lines: String = violations.iter().map(|violation| format!("\n- {violation}")).collect();
    assert!(
        violations.is_empty(),
        "{} rules of the {contract} contract are broken:{lines}",
        violations.len()
    );
}

/// `Err` with a message unless the condition holds.
pub(crate) fn ensure(holds: bool, found: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(found()) }
}

/// Polls a future at most `polls` times, then drops it: what a cancellation at that point does.
pub(crate) async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
