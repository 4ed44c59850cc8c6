//! Metrics with their values at one moment, for whichever exporter.

use std::fmt;

use fetch_etl_core::pipeline::{HistogramSnapshot, Operation, ReturnCause};
use fetch_etl_core::{ErrorClass, KeyId, RejectReason};

use crate::health::Part;
use crate::table::Metric;

/// A label's value: a word out of this program's source, or a number. There is no way from a text of a message to it:
///
/// ```compile_fail,E0277
/// # use fetch_etl_telemetry::LabelValue;
/// fn label(user_id: String) -> LabelValue {
///     user_id.into()
/// }
/// ```
///
/// nor from one that is only borrowed:
///
/// ```compile_fail
/// # use fetch_etl_telemetry::LabelValue;
/// fn label(user_id: &str) -> LabelValue {
///     user_id.into()
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelValue(Label);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Word(&'static str),
    Number(i64),
}

impl LabelValue {
    /// A word that was known when this program was compiled.
    pub(crate) const fn word(word: &'static str) -> Self {
        Self(Label::Word(word))
    }

    pub(crate) const fn number(number: i64) -> Self {
        Self(Label::Number(number))
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Label::Word(word) => f.write_str(word),
            Label::Number(number) => write!(f, "{number}"),
        }
    }
}

macro_rules! words {
    ($($enum:ty),*) => {$(
        impl From<$enum> for LabelValue {
            fn from(value: $enum) -> Self {
                Self::word(value.as_str())
            }
        }
    )*};
}

words!(RejectReason, ReturnCause, Operation, ErrorClass, Part);

impl From<KeyId> for LabelValue {
    fn from(id: KeyId) -> Self {
        Self::number(i64::from(id.get()))
    }
}

/// A value of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge: a whole number.
    Whole(i64),
    /// Of a counter or a gauge that measures.
    Measured(f64),
    /// Of a histogram.
    Histogram {
        /// How many lie in each bucket, by its upper bound (the last one's is infinite); not added up.
        buckets: Vec<(f64, u64)>,
        /// The sum of all values.
        sum: f64,
    },
    /// Of an info: 1.
    Info,
}

impl Value {
    pub(crate) fn of_histogram(snapshot: &HistogramSnapshot, unit: f64) -> Self {
        let bound = |bound: Option<u64>| bound.map_or(f64::INFINITY, |bound| bound as f64 / unit);
        let buckets = snapshot.buckets.iter().map(|(upper, count)| (bound(*upper), *count)).collect();
        Self::Histogram { buckets, sum: snapshot.sum as f64 / unit }
    }
}

/// One set of labels, and the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Names and values.
    pub labels: Vec<(&'static str, LabelValue)>,
    /// The value.
    pub value: Value,
}

/// A metric with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Which.
    pub metric: &'static Metric,
    /// Its values; none where nothing is known.
    pub points: Vec<Point>,
}

impl Family {
    /// A metric without labels.
    pub(crate) fn of(metric: &'static Metric, value: Value) -> Self {
        Self { metric, points: vec![Point { labels: Vec::new(), value }] }
    }

    pub(crate) fn whole(metric: &'static Metric, value: impl TryInto<i64>) -> Self {
        Self::of(metric, whole(value))
    }

    /// A value for each set of labels' values, in the order of the metric's labels.
    pub(crate) fn by<const N: usize>(
        metric: &'static Metric,
        points: impl IntoIterator<Item = ([LabelValue; N], Value)>,
    ) -> Self {
        let point = |(values, value): ([LabelValue; N], Value)| Point {
            labels: metric.labels.iter().copied().zip(values).collect(),
            value,
        };
        Self { metric, points: points.into_iter().map(point).collect() }
    }
}

/// What no exporter could tell from infinity stands for it.
pub(crate) fn whole(value: impl TryInto<i64>) -> Value {
    Value::Whole(value.try_into().unwrap_or(i64::MAX))
}
