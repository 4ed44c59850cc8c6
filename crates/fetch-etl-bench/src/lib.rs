//! The benchmark behind `cargo xtask bench`: what the worker costs, beside what its parts cost when they stand alone.
//!
//! One [`run`] starts queues, workers and limits as processes of their own, one after the other and in rounds, so that a noisy
//! machine hits all of them alike, and reads from `/proc` what each of them took. What it says is a [`Report`]: JSON, and a page
//! of Markdown that holds it against the aims ([`aims`]).
//!
//! | module | what it is |
//! |---|---|
//! | `plan` | what is measured, in which order, how often |
//! | `runs` | one measurement each, seen from outside: a queue, a database, a client between them |
//! | `parts` | the limits: what runs as a process of its own, this program started again |
//! | `watch` | the observer: when the queue is empty, and what each process took until then |
//! | [`stats`], `proc`, [`report`], [`aims`], [`compare`], `table` | the figures |
//!
//! Nothing here asserts a time. That the rows are all there, it does assert: a wrong result has no speed.

pub mod aims;
pub mod compare;
mod load;
mod machine;
pub mod parts;
mod plan;
mod proc;
pub mod report;
mod rig;
mod runs;
mod scale;
mod sqs;
pub mod stats;
mod table;
mod watch;

pub use plan::{Options, names, run};
pub use report::Report;
pub use scale::Scale;

/// An error is one message for a person: nothing here is handled by kind.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One line about how far it is.
#[expect(clippy::print_stderr, reason = "it talks to the person who runs it")]
fn say(line: &str) {
    eprintln!("bench: {line}");
}
