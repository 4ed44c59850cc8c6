//! The merged layers as serde reads them: one field for each key of the table, in its type.

use std::net::SocketAddr;

use serde::Deserialize;

use super::secret::Secret;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) source: RawSource,
    pub(crate) pipeline: RawPipeline,
    pub(crate) masking: RawMasking,
    pub(crate) sink: RawSink,
    // No key of it has a default, so it may be missing.
    #[serde(default)]
    pub(crate) quarantine: RawQuarantine,
    pub(crate) vault: RawVault,
    pub(crate) ledger: RawLedger,
    // No key of it has a default, so it may be missing.
    #[serde(default)]
    pub(crate) telemetry: RawTelemetry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSource {
    pub(crate) kind: RawSourceKind,
    pub(crate) queue_url: Option<String>,
    pub(crate) queue_name: Option<String>,
    pub(crate) endpoint_url: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) wait_time_s: u64,
    pub(crate) visibility_timeout_s: Option<u64>,
    pub(crate) max_receivers: usize,
    pub(crate) key_attribute: Option<String>,
    pub(crate) transport: RawTransport,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawTransport {
    Lean,
    Sdk,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RawSourceKind {
    Sqs,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPipeline {
    pub(crate) max_in_flight: usize,
    pub(crate) max_batch_rows: usize,
    pub(crate) max_batch_bytes: usize,
    pub(crate) writers: usize,
    pub(crate) shutdown_grace_s: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFields {
    pub(crate) ip: Option<String>,
    pub(crate) device_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawMasking {
    pub(crate) method: Option<String>,
    // No key of it has a default, so it may be missing.
    #[serde(default)]
    pub(crate) fields: RawFields,
    pub(crate) redact_with: String,
    pub(crate) partial_chars: u8,
    pub(crate) key: Option<Secret>,
    pub(crate) key_file: Option<String>,
    pub(crate) key_credential: Option<String>,
    pub(crate) key_secret: Option<String>,
    pub(crate) key_secret_field: Option<String>,
    pub(crate) key_kms_file: Option<String>,
    pub(crate) key_kms_key_id: Option<String>,
    pub(crate) key_kms_context: Option<String>,
    pub(crate) domain: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSink {
    pub(crate) database_url: Option<Secret>,
    pub(crate) database_url_file: Option<String>,
    pub(crate) max_connections: u32,
    pub(crate) migrate: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuarantine {
    pub(crate) recipient: Option<Secret>,
    pub(crate) recipient_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawVault {
    pub(crate) recipient: Option<Secret>,
    pub(crate) recipient_file: Option<String>,
    pub(crate) cache_values: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLedger {
    pub(crate) retention_days: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTelemetry {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) otlp_endpoint: Option<String>,
}
