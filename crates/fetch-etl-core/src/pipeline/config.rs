use std::time::Duration;

/// Bounds of a pipeline. Every field has a default.
///
/// ```
/// use fetch_etl_core::pipeline::PipelineConfig;
///
/// let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
/// assert_eq!(config.max_in_flight, 10_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Most messages held at once; memory is bounded by it, whatever the backlog. Default 10,000.
    pub max_in_flight: usize,
    /// Most parallel receives. Default 16.
    pub max_receivers: usize,
    /// Most messages of one write. Default 2,000.
    pub max_batch_rows: usize,
    /// Most bytes of message bodies of one write (one message always fits). Default 8 MiB.
    pub max_batch_bytes: usize,
    /// Parallel writes. Default 2.
    pub writers: usize,
    /// How long a shutdown may take, from the request to the return of [`run`](super::Pipeline::run). Default 30 s.
    pub shutdown_grace: Duration,
    /// End when the queue is empty, or only messages are left that were rejected before. Default false.
    pub until_empty: bool,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            max_in_flight: 10_000,
            max_receivers: 16,
            max_batch_rows: 2_000,
            max_batch_bytes: 8 * 1024 * 1024,
            writers: 2,
            shutdown_grace: Duration::from_secs(30),
            until_empty: false,
        }
    }
}
