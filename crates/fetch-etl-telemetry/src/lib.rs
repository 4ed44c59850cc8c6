//! What a running pipeline tells about itself: `/metrics` for Prometheus, `/live` and `/ready` for whoever keeps it running.
//!
//! ```text
//!  Stats (core) ──┐
//!  Health ────────┼─▶ Telemetry ──▶ families of numbers ──▶ /metrics   (OpenMetrics, or Prometheus's text format)
//!  queue's depth ─┘        └──────▶ live? ready?        ──▶ /live  /ready
//! ```
//!
//! [`METRICS`] is the table of all metrics: nothing is exported that is not in it, and `docs/METRICS.md`, the dashboard and the
//! alert rules are tested against it. A label's value is a word of an enum or a number ([`LabelValue`]), so that no text of a
//! message can become one.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use fetch_etl_core::pipeline::Stats;
//! # use fetch_etl_telemetry::{About, Server, Telemetry};
//! # use tokio_util::sync::CancellationToken;
//! # async fn example(stats: Arc<Stats>, stop: CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
//! let about = About { version: env!("CARGO_PKG_VERSION"), commit: "unknown", max_in_flight: 10_000 };
//! let telemetry = Arc::new(Telemetry::new(stats, about, stop));
//! let server = Server::bind("127.0.0.1:9600".parse()?).await?;
//! println!("http://{}/metrics", server.address());
//! let _serving = server.serve(telemetry.clone());   // until it is dropped
//! # Ok(())
//! # }
//! ```

mod collect;
mod depth;
mod encode;
mod families;
mod health;
#[cfg(feature = "otlp")]
mod otlp;
mod process;
mod server;
mod table;

pub use collect::{About, Telemetry};
pub use depth::watch_queue;
pub use encode::Format;
pub use families::{Family, LabelValue, Point, Value};
pub use health::{Health, Live, Part, Phase, Ready, watch_sink};
#[cfg(feature = "otlp")]
pub use otlp::{Otlp, OtlpError};
pub use server::{BindError, Server};
pub use table::{Kind, METRICS, Metric, Unit};
