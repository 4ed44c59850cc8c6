//! The text formats that Prometheus reads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelValue, LabelValueEncoder, NoLabelSet};
use prometheus_client::encoding::{MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use crate::families::{Family, LabelValue, Value};
use crate::table::{Kind, Unit};

/// In which format metrics are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, which Prometheus asks for.
    OpenMetrics,
    /// Prometheus's own older text format, which everything else reads.
    Text,
}

impl Format {
    /// What a client wants that sent this `Accept`.
    pub fn accepted(accept: Option<&str>) -> Self {
        let accepts = |accept: &str| accept.contains("application/openmetrics-text");
        if accept.is_some_and(accepts) { Self::OpenMetrics } else { Self::Text }
    }

    /// The `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }

    /// The families as text.
    pub fn encode(self, families: Vec<Family>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Families(families)));
        let mut out = String::new();
        let encoded = match self {
            Self::OpenMetrics => text::encode(&mut out, &registry),
            Self::Text => prometheus_text::encode(&mut out, &registry),
        };
        // Writing to a string does not fail, and what is half written must not look whole.
        if encoded.is_ok() { out } else { String::new() }
    }
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { metric, points } in &self.0 {
            let unit = metric.unit.map(unit_of);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let mut encoder =
                encoder.encode_descriptor(metric.stem(), metric.meaning, unit.as_ref(), kind)?;
            for point in points {
                let labels = point.labels.as_slice();
                if matches!(point.value, Value::Info) {
                    encoder.encode_info(&labels)?;
                } else if labels.is_empty() {
                    encode_value(&mut encoder, metric.kind, &point.value)?;
                } else {
                    encode_value(&mut encoder.encode_family(&labels)?, metric.kind, &point.value)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> Result<(), fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Whole(number)) => {
            encoder.encode_counter::<NoLabelSet, u64, u64>(&number.unsigned_abs(), None)
        }
        (Kind::Counter, Value::Measured(number)) => {
            encoder.encode_counter::<NoLabelSet, f64, u64>(number, None)
        }
        (Kind::Gauge, Value::Whole(number)) => encoder.encode_gauge(number),
        (Kind::Gauge, Value::Measured(number)) => encoder.encode_gauge(number),
        (Kind::Histogram, Value::Histogram { buckets, sum }) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
        // No such pair is ever made; a scrape that fails tells of it.
        _ => Err(fmt::Error),
    }
}

fn unit_of(unit: Unit) -> registry::Unit {
    match unit {
        Unit::Seconds => registry::Unit::Seconds,
        Unit::Bytes => registry::Unit::Bytes,
        Unit::Rows => registry::Unit::Other("rows".to_owned()),
    }
}

impl EncodeLabelValue for LabelValue {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        use std::fmt::Write as _;
        write!(encoder, "{self}")
    }
}
