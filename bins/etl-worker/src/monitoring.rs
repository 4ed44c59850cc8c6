//! What a worker tells about itself while it runs: metrics, liveness, readiness, on the port that the configuration opens.

use std::sync::Arc;

use fetch_etl_core::pipeline::{Observer, Stats};
use fetch_etl_core::{KeyId, MessageSource};
use fetch_etl_telemetry::{About, Server, Telemetry, watch_queue, watch_sink};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::failure::Failure;
use crate::settings::Settings;
use crate::sinks::Database;

/// The commit that is being built, where whoever builds says so.
const COMMIT: &str = match option_env!("BUILD_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

#[cfg(feature = "otlp")]
use fetch_etl_telemetry::Otlp;

#[cfg(feature = "otlp")]
mod otlp {
    use super::*;

    pub(super) fn start(endpoint: &str, telemetry: &Arc<Telemetry>) -> Result<Otlp, Failure> {
        Otlp::start(endpoint, env!("CARGO_PKG_VERSION"), telemetry)
            .map_err(|error| Failure::usage(format!("telemetry.otlp_endpoint: {error}")))
    }
}

#[cfg(not(feature = "otlp"))]
use otlp::Otlp;

/// What a build without OTLP has in its place: nothing of it can exist.
#[cfg(not(feature = "otlp"))]
mod otlp {
    use super::*;

    #[derive(Debug)]
    pub(super) enum Otlp {}

    impl Otlp {
        pub(super) fn observer(&self) -> Arc<dyn Observer> {
            match *self {}
        }

        #[expect(clippy::unused_async, reason = "with the feature it is")]
        pub(super) async fn shutdown(self) {
            match self {}
        }
    }

    pub(super) fn start(_: &str, _: &Arc<Telemetry>) -> Result<Otlp, Failure> {
        Err(Failure::usage("telemetry.otlp_endpoint: this build has no OTLP; it needs --features otlp"))
    }
}

/// Tells until it is dropped.
#[derive(Debug)]
pub(crate) struct Monitoring {
    telemetry: Arc<Telemetry>,
    serving: Option<AbortOnDropHandle<()>>,
    watching: Vec<AbortOnDropHandle<()>>,
    otlp: Option<Otlp>,
}

impl Monitoring {
    /// Opens the port, where one is set: before anything is received, so that a worker that nobody could look into does not run.
    /// To be called within a runtime.
    ///
    /// # Errors
    /// The port cannot be had.
    pub(crate) async fn start(
        settings: &Settings,
        stats: Arc<Stats>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let about = About {
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT,
            max_in_flight: settings.pipeline.max_in_flight,
        };
        let telemetry = Arc::new(Telemetry::new(stats, about, stop));
        let serving = match settings.telemetry.listen {
            Some(address) => {
                let server = Server::bind(address)
                    .await
                    .map_err(|error| Failure::failed(format!("telemetry.listen: {error}")))?;
                info!(
                    event = "telemetry_listening",
                    address = %server.address(),
                    "serving /metrics, /live and /ready"
                );
                Some(server.serve(telemetry.clone()))
            }
            None => None,
        };
        let otlp = settings.telemetry.otlp_endpoint.as_deref();
        let otlp = otlp.map(|endpoint| otlp::start(endpoint, &telemetry)).transpose()?;
        Ok(Self { telemetry, serving, watching: Vec::new(), otlp })
    }

    /// Whether anybody is told anything.
    fn is_told(&self) -> bool {
        self.serving.is_some() || self.otlp.is_some()
    }

    /// Who is to be told of each batch.
    pub(crate) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.otlp.as_ref().map(Otlp::observer)
    }

    /// Sends what is left to be sent, and ends.
    pub(crate) async fn end(self) {
        if let Some(otlp) = self.otlp {
            otlp.shutdown().await;
        }
    }

    /// The database has answered.
    pub(crate) fn has_sink(&mut self, database: &Database) {
        self.telemetry.health().sink_answers(true);
        if self.is_told() {
            self.watching.push(watch_sink(self.telemetry.clone(), database.policy_store()));
        }
    }

    /// The queue has answered.
    pub(crate) fn has_source(&mut self, source: &Arc<dyn MessageSource>) {
        self.telemetry.health().source_answers();
        if self.is_told() {
            self.watching.push(watch_queue(self.telemetry.clone(), source.clone()));
        }
    }

    /// The masking policy in force is this worker's, with this key.
    pub(crate) fn agreed(&self, key_id: KeyId) {
        self.telemetry.masks_with(key_id);
        self.telemetry.health().policy_accepted(true);
    }

    /// The masking policy in force is not the one that this worker has followed until now.
    pub(crate) fn disagreed(&self) {
        self.telemetry.health().policy_accepted(false);
    }

    /// The pipeline runs.
    pub(crate) fn running(&self) {
        self.telemetry.health().running();
    }

    /// The pipeline has ended.
    pub(crate) fn ended(&self) {
        self.telemetry.health().stopped();
    }
}
