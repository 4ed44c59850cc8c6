//! The table of metrics.

/// A metric that is exported.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name without unit and suffix.
    stem: &'static str,
    /// What it measures in, where that is no plain number.
    pub unit: Option<Unit>,
    /// What kind of metric it is.
    pub kind: Kind,
    /// The names of its labels, in order.
    pub labels: &'static [&'static str],
    /// What it means, in one line.
    pub meaning: &'static str,
}

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often which size was seen.
    Histogram,
    /// Always 1; its labels are what it tells.
    Info,
}

impl Kind {
    /// The word of the exposition format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What a metric measures in: base units only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Rows, or messages that are to become some.
    Rows,
}

impl Unit {
    /// The word at the end of a metric's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::Rows => "rows",
        }
    }
}

impl Metric {
    /// The name without the suffix of its kind, as exporters take it.
    pub fn stem(&self) -> &'static str {
        self.stem
    }

    /// The name in queries; a histogram's has `_bucket`, `_sum` or `_count` behind it.
    pub fn name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let suffix = match self.kind {
            Counter => "_total",
            Info => "_info",
            Gauge | Histogram => "",
        };
        format!("{}{unit}{suffix}", self.stem)
    }
}

const fn metric(
    stem: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { stem, unit: None, kind, labels, meaning }
}

const fn measured(stem: &'static str, unit: Unit, kind: Kind, meaning: &'static str) -> Metric {
    Metric { stem, unit: Some(unit), kind, labels: &[], meaning }
}

macro_rules! table {
    ($($name:ident = $metric:expr;)*) => {
        $(pub(crate) static $name: Metric = $metric;)*

        /// Every metric, in the order in which they are exported.
        pub static METRICS: &[&Metric] = &[$(&$name),*];
    };
}

use Kind::{Counter, Gauge, Histogram, Info};

table! {
    RECEIVED = metric("etl_messages_received", Counter, &[], "messages received, every delivery counted");
    INSERTED = metric("etl_rows_inserted", Counter, &[], "rows stored");
    DUPLICATES = metric("etl_rows_duplicate", Counter, &[], "rows whose key the ledger knew, not stored again");
    QUARANTINED = metric(
        "etl_messages_quarantined", Counter, &["reason"],
        "rejected messages that are sealed in the quarantine and deleted from the queue"
    );
    REJECTED = metric(
        "etl_messages_rejected", Counter, &["reason"],
        "messages that cannot become a row, every delivery counted, whatever became of them then"
    );
    RETURNED = metric(
        "etl_messages_returned", Counter, &["cause"], "messages that nothing was stored of: given back, or left to the queue"
    );
    IN_FLIGHT = metric("etl_messages_in_flight", Gauge, &[], "messages received whose outcome is not known yet");
    IN_FLIGHT_LIMIT = metric("etl_messages_in_flight_limit", Gauge, &[], "most messages in flight, as pipeline.max_in_flight says");
    CONSERVATION = metric(
        "etl_conservation_difference", Gauge, &[],
        "received less inserted, duplicate, quarantined, returned and in flight: 0, or messages were lost track of"
    );
    OLDEST = measured(
        "etl_oldest_message_age", Unit::Seconds, Gauge,
        "time since the oldest message in flight was sent to the queue; 0 while there is none"
    );
    ERASED = metric("etl_rows_erased", Counter, &[], "rows of persons who were erased, stored without their masks, every delivery counted");
    UNKNOWN_FIELDS = metric("etl_unknown_fields", Counter, &[], "fields that the schema does not know, dropped");
    NON_CANONICAL = metric(
        "etl_values_non_canonical", Counter, &[], "values masked as text because they are not what their field is named for"
    );
    ACKED = metric("etl_messages_acked", Counter, &[], "messages deleted from the queue");
    ACK_FAILED = metric(
        "etl_messages_ack_failed", Counter, &[],
        "messages that could not be deleted though their rows are stored; they come back as duplicates"
    );
    LEASES_EXTENDED = metric("etl_leases_extended", Counter, &[], "leases of messages that were extended");
    RECEIVES = metric("etl_receives", Counter, &[], "calls that ask the queue for messages, empty answers included");
    WRITES = metric("etl_writes", Counter, &[], "calls that write to the database, failed ones included");
    RETRIES = metric(
        "etl_retries", Counter, &["operation", "class"], "calls made again, by operation and by the class of the error before"
    );
    FAILURES = metric(
        "etl_failures", Counter, &["operation", "class"], "calls that failed, altogether or in part, by operation and class of error"
    );
    BATCH_ROWS = measured("etl_batch", Unit::Rows, Histogram, "messages of each batch that a writer took");
    BATCH_TIME = measured(
        "etl_batch", Unit::Seconds, Histogram,
        "time from when a writer took a batch until its outcome was known, retries and outages included"
    );
    COMMIT_TIME = measured("etl_commit", Unit::Seconds, Histogram, "time of each write that the database made durable");
    RECEIVERS = metric("etl_receivers", Gauge, &[], "parallel receivers at work");
    BREAKER = metric("etl_breaker_open", Gauge, &[], "1 while writes fail and receiving is paused for it, else 0");
    READY = metric("etl_ready", Gauge, &["part"], "1 where /ready finds nothing wrong with this part, else 0");
    QUEUE = metric(
        "etl_queue_messages", Gauge, &["state"],
        "messages in the queue, about, as it tells every 30 seconds; absent where it does not or may not"
    );
    KEY = metric("etl_mask_key", Info, &["key_id"], "the id of the key that this worker masks with; 0 is plain SHA-512");
    POLICY = metric(
        "etl_mask_policy", Info, &["version", "key_id", "canonical_version"], "the masking policy in force in the database, as last read"
    );
    BUILD = metric("etl_build", Info, &["version", "commit"], "what is running");
    PROCESS_CPU = measured("process_cpu", Unit::Seconds, Counter, "processor time of this process, user and system");
    PROCESS_MEMORY = measured("process_resident_memory", Unit::Bytes, Gauge, "memory of this process that is in RAM");
    PROCESS_FDS = metric("process_open_fds", Gauge, &[], "open file descriptors of this process");
    PROCESS_MAX_FDS = metric("process_max_fds", Gauge, &[], "most file descriptors that this process may open");
    PROCESS_START = measured("process_start_time", Unit::Seconds, Gauge, "when this process started, since 1970-01-01T00:00:00Z");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_as_prometheus_wants_them() {
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name()).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let name = metric.name();
            let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(is_word(&name) && metric.labels.iter().all(|label| is_word(label)), "{name}");
            assert!(name.starts_with("etl_") || name.starts_with("process_"), "{name}");
            for suffix in ["_total", "_info", "_bucket", "_sum", "_count", "_created", "_milliseconds"] {
                assert!(!metric.stem.ends_with(suffix), "{name}");
            }
            // Neither needs escaping in the exposition formats.
            assert!(!metric.meaning.contains(['\\', '\n', '"']) && !metric.meaning.ends_with('.'), "{name}");
            assert!(metric.kind != Info || !metric.labels.is_empty(), "{name}");
        }
    }
}
