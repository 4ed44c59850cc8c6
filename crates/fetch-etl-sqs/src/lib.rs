//! AWS SQS as a [`MessageSource`](fetch_etl_core::MessageSource), on the official SDK.
//!
//! ```text
//!              ReceiveMessage, up to 10, long poll
//!   SQS ──────────────────────────────────────────────▶ Delivery ──▶ pipeline ──▶ row committed
//!    ▲ ▲ ▲                                                              │ │              │
//!    │ │ └── ChangeMessageVisibilityBatch: the lease, again and again ──┘ │              │
//!    │ └──── the same with 0: given back ─────────────────────────────────┘              │
//!    └────── DeleteMessageBatch ─────────────────────────────────────────────────────────┘
//! ```
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use fetch_etl_core::login::{LoginRow, LoginSchema};
//! use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
//! use fetch_etl_core::{Masker, Sink};
//! use fetch_etl_sqs::{Queue, SqsConfig, SqsSource};
//! use tokio_util::sync::CancellationToken;
//!
//! async fn move_logins(
//!     masker: Arc<dyn Masker>,
//!     sink: Arc<dyn Sink<LoginRow>>,
//! ) -> Result<(), Box<dyn std::error::Error>> {
//!     let config = SqsConfig {
//!         region: Some("eu-west-1".into()),
//!         key_attribute: Some("event-id".into()),
//!         ..SqsConfig::new(Queue::Name("logins".into()))
//!     };
//!     let source = Arc::new(SqsSource::connect(config).await?);
//!     let pipeline = Pipeline::new(PipelineConfig::default(), source, LoginSchema, masker, sink);
//!     let stop = CancellationToken::new();
//!     println!("{}", pipeline.run(stop).await?);
//!     Ok(())
//! }
//! ```
//!
//! # The message's key
//! The ledger writes a row once for each key. It is, the first that is there: the message attribute named by
//! [`key_attribute`](SqsConfig::key_attribute), the attribute [`ORIGIN_ATTRIBUTE`], the message's id. A message whose key attribute is there but has no text (a binary one) is rejected rather than known by another key.
//!
//! A message that our own [`Redrive`] sent again has [`ORIGIN_ATTRIBUTE`] and [`ORIGIN_SENT_ATTRIBUTE`]: its id and its time
//! of sending are those that it had at first, so that the ledger knows it however often it is sent.
//!
//! # Leases
//! Every receive asks for the same visibility timeout, the configured one or what the queue had when the source
//! connected, so that a change at the queue cannot take messages away from a running worker. Reading the queue's needs
//! `sqs:GetQueueAttributes`; without that right it is 30 s, which one line of the log says. The other rights that are needed:
//! `sqs:ReceiveMessage`, `sqs:DeleteMessage`, `sqs:ChangeMessageVisibility`, and `sqs:GetQueueUrl` for a queue that is
//! named.
//!
//! A FIFO queue is received from like any other: the pipeline does not keep its order.
//!
//! # Errors
//! One function decides for every error whether it passes by itself; what it does not know is final. Texts hold the
//! operation, our own words, the error code, the HTTP status and the request id; never what the service says in words, which
//! may quote what was sent.
//!
//! # Transports
//! The three calls that every message costs, ReceiveMessage, DeleteMessageBatch and ChangeMessageVisibilityBatch for a lease, are made
//! by this crate itself ([`Transport::Lean`], the default) or by the SDK's client ([`Transport::Sdk`]), which takes several times the
//! CPU. The lean one asks the SDK's client, once, for what it would use: endpoint, signing region, connections with their TLS and
//! proxies, provider and cache of credentials, clock; and signs as it does, with the keyed hashes of `aws-sigv4`. Connections are shared. All other calls
//! are the SDK's. Both make the same deliveries and the same errors of the same answers, which tests hold them to. They differ in
//! this:
//!
//! - A signature that is refused because this machine's clock is off by more than four minutes is made again at once with the
//!   service's time. The SDK's client, which is told not to retry here, fails that call and knows better at the next.
//! - What is not needed of an answer is only skipped: a binary attribute that is no Base64, say, makes it unreadable to the SDK alone,
//!   and an escape there that JSON does not know to the lean one alone.
//! - It calls itself `fetch-etl-sqs/…` in `User-Agent`.
//!
//! # Timeouts and retries
//! A receive may take its wait and [`request_timeout`](SqsConfig::request_timeout); deleting and extending at most a quarter
//! of the lease, so that a call that hangs leaves time for another. The pipeline repeats these three itself, so nobody else
//! does. Giving messages back and asking for the queue's depth are tried [`max_attempts`](SqsConfig::max_attempts) times.
//! Connections are shared by all calls and as many as calls under way. Proxies of the environment are used for `https`
//! endpoints only.
//!
//! # Emulators
//! ElasticMQ (from 1.6.2), LocalStack, moto and `fetch-etl-local-sqs` need an [`endpoint_url`](SqsConfig::endpoint_url) or a
//! queue URL with their host, and any credentials ([`Credentials::Placeholder`] where none are set). Which region they
//! are told does not matter.
//!
//! # Never log at TRACE
//! **The SDK prints whole responses, with the bodies of the messages, at the level TRACE**, and so may the HTTP library below
//! it. A program that uses this crate must cap the targets `aws_*`, `hyper*`, `h2` and `rustls` in its subscriber at INFO,
//! whatever the user asks for; the binaries of this workspace do. This crate's own target, `fetch_etl_sqs`, is harmless
//! at every level: it logs names, numbers and nothing of a message. `aws_sdk_sqs::types::Message` derives `Debug` with the
//! body, so this crate takes it apart as soon as it comes and gives it to nobody.

mod batch;
mod calls;
mod client;
mod config;
mod connect;
mod endpoint;
mod failure;
mod message;
mod posture;
mod redrive;
mod source;

pub use config::{ConfigError, Credentials, Queue, SqsConfig, Transport};
pub use connect::{ConnectError, ConnectErrorKind};
pub use endpoint::InvalidUrl;
pub use message::{ORIGIN_ATTRIBUTE, ORIGIN_SENT_ATTRIBUTE};
pub use posture::{DeadLetterQueue, DeadLetterState, Encryption, QueuePosture};
pub use redrive::{Received, Redrive, Tally};
pub use source::SqsSource;
