//! SQS in memory, over the real wire: for demos, tests and benchmarks.
//!
//! [`LocalSqs`] serves the AWS JSON protocol over HTTP/1.1, so that the AWS SDKs, the AWS CLI and boto3 talk to it as
//! they talk to SQS. It keeps what a consumer has to rely on: visibility timeouts, delays, long polls, receive counts,
//! redrive to a dead-letter queue, retention, the limits, and the errors with their codes. A queue of a million
//! messages is as fast as one of ten.
//!
//! ```text
//!                        LocalSqs                                  a queue
//!  SDK, CLI, boto3 ──▶ HTTP ─▶ JSON ─▶ fault? ─▶ action ─▶ ready ──receive──▶ in flight ──delete──▶ gone
//!  QueueHandle ──────────────────────────────────▶│          ▲                    │
//!  /control/…  ──▶ fault plan                                └─ time is over, or 0 ┘──too often──▶ dead-letter queue
//! ```
//!
//! ```
//! use fetch_etl_local_sqs::{LocalSqs, QueueConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = LocalSqs::builder()
//!     .queue(QueueConfig::new("logins").dead_letter("logins-dead", 5))
//!     .bind("127.0.0.1:0")
//!     .await?;
//! let logins = server.queue("logins").ok_or("just created")?;
//! logins.send_many((0..1000).map(|i| format!(r#"{{"user_id":"{i}"}}"#)))?;
//! assert_eq!(logins.stats().ready, 1000);
//! println!("aws --endpoint-url {} sqs receive-message --queue-url {}", server.url(), server.queue_url("logins"));
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Operations
//! CreateQueue, DeleteQueue, ListQueues, GetQueueUrl, GetQueueAttributes, SetQueueAttributes, PurgeQueue,
//! ReceiveMessage, and SendMessage, DeleteMessage and ChangeMessageVisibility, each by itself and as a batch.
//! `GET /health` answers once the server is up.
//!
//! # Faults
//! Each queue can be told to do wrong what the real service may do wrong: see [`FaultKind`] for what there is, and
//! [`FaultPlan`] for how it is said and why the same seed brings the same faults. There are three ways to say it:
//! [`QueueHandle::faults`], the flags `--fault` and `--fault-seed`, and, while the server runs, from the same machine:
//!
//! | request | effect |
//! |---|---|
//! | `GET /control/queues/{name}/faults` | tells the plan at work, and how many faults of each kind there were so far |
//! | `PUT /control/queues/{name}/faults` | puts a plan to work in place of the one before |
//! | `DELETE /control/queues/{name}/faults` | ends all faults |
//! | `GET /control/queues/{name}/stats` | tells the queue's figures, as [`QueueStats`] |
//!
//! A plan is JSON; every member can be left out:
//! `{"seed":7,"faults":{"redeliver":0.2,"cut-after":{"probability":1,"at-most":3}},"slow-ms":250,"sends":false,
//! "calls":["delete"]}`.
//! The first three requests are answered with `{"plan":{…},"injected":{"redeliver":12,…}}`, mistakes with the status 400
//! and `{"error":"…"}`, and whoever asks from another machine with the status 403.
//!
//! Faults befall receives, deletes and changes of visibility, and sends if the plan says so. The ones for whole calls can be
//! kept to some actions ([`FaultPlan::only_calls`]), which may also be those that look at or purge a queue; nothing
//! befalls the operations that make, list or delete queues. What gets lost on the way stays in the books:
//! [`QueueStats::is_conserved`] holds under faults too. While no queue has faults, a call costs one look at a flag more.
//!
//! To stop a consumer at an exact point, withhold answers: under `slow=1,slow-ms=600000,calls=delete` the count
//! `injected.slow` says that so many deletes have had their effect and that nobody knows of it yet; under
//! `calls=receive`, that messages were handed out which have not arrived. A withheld answer holds up no other call and no
//! shutdown, and ends with its client.
//!
//! # Where it is not SQS
//! - Signatures and credentials are accepted and not looked at; there are no policies. Whoever reaches the port may do
//!   everything, so bind it to the loopback address.
//! - Standard queues only. They hand out messages in the order in which they became ready, which SQS only tries to;
//!   and they never deliver twice by themselves, unless told to by a fault.
//! - A queue's name is free at once after DeleteQueue, and PurgeQueue is done when it answers and can be called as often
//!   as one likes; SQS makes both wait for 60 s. New attributes hold at once.
//! - The figures of GetQueueAttributes are exact.
//! - Queue URLs are told apart by their last part only, and begin, in answers, with the host that the client used.
//! - Policies and encryption settings are kept and given back, and have no effect. Tags are ignored.
//! - Messages are gone when the process ends.
//!
//! What it has in common with SQS is held by a list of checks that moto's server is put to as well; docs/CONFORMANCE.md
//! of this crate says where that one differs.
//!
//! # Where SQS leaves it open
//! - DeleteMessage with a receipt handle that is not of the latest delivery succeeds and deletes nothing. With the latest
//!   it deletes, also when the visibility timeout is over.
//! - ChangeMessageVisibility of a message whose timeout is over fails with `MessageNotInflight`; with a handle that is
//!   not of the latest delivery, or of a deleted message, with `InvalidParameterValue`.
//! - A message goes to the dead-letter queue when it would be received once more than `maxReceiveCount`, not before. It
//!   keeps its id, its SentTimestamp and its receive count. If the dead-letter queue is gone, it is delivered on.

mod attribute;
mod clock;
mod config;
mod control;
mod error;
mod fault;
mod handle;
mod http;
mod limits;
mod message;
mod queue;
mod receipt;
mod registry;
mod server;
mod service;
mod settings;
mod state;
mod wire;

pub use clock::{Clock, ManualClock};
pub use config::QueueConfig;
pub use fault::{CallAction, FaultCounts, FaultKind, FaultPlan, PlanError, Rule};
pub use handle::{QueueHandle, SendError};
pub use server::{Builder, LocalSqs, RunningServer, StartError};
pub use state::QueueStats;
