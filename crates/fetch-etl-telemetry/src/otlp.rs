//! OpenTelemetry: a span for each batch, linked to the traces of its messages, and the metrics of the table, sent by OTLP.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use fetch_etl_core::TraceParent;
use fetch_etl_core::pipeline::{EndedBatch, Observer};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::Telemetry;
use crate::families::{Family, Value};
use crate::table::{self, Kind, METRICS, Metric, Unit};

const SCOPE: &str = "fetch-etl";

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long the last export may take when a worker ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);

/// An answer says next to nothing.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// For how long numbers are good enough: one export asks for each metric by itself.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// OTLP cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot export by OTLP: {0}")]
pub struct OtlpError(&'static str);

/// Exports until it is shut down.
pub struct Otlp {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    batches: Arc<Batches>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otlp")
    }
}

impl Otlp {
    /// Exports to a collector, `http://host:4318` for example. The SDK's own variables are honoured, such as
    /// `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER` and
    /// `OTEL_METRIC_EXPORT_INTERVAL`. To be called within a runtime.
    ///
    /// # Errors
    /// The endpoint is no address, or there are no root certificates for an `https://` one.
    pub fn start(
        endpoint: &str,
        version: &'static str,
        telemetry: &Arc<Telemetry>,
    ) -> Result<Self, OtlpError> {
        let client = client(endpoint)?;
        let path = |signal: &str| format!("{}/v1/{signal}", endpoint.trim_end_matches('/'));
        let spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(client.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(path("traces"))
            .build();
        let metrics = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(path("metrics"))
            .build();
        // The library's texts may quote the endpoint, which may hold a password.
        let (Ok(spans), Ok(metrics)) = (spans, metrics) else {
            return Err(OtlpError("the endpoint or an OTEL_ variable cannot be used"));
        };
        let resource = resource(version);
        let tracers =
            SdkTracerProvider::builder().with_resource(resource.clone()).with_batch_exporter(spans).build();
        let meters =
            SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(metrics).build();
        let meter = meters.meter(SCOPE);
        observe(&meter, telemetry);
        let families = telemetry.families();
        let batches = Arc::new(Batches {
            tracer: tracers.tracer(SCOPE),
            rows: histogram(&meter, &table::BATCH_ROWS, &families),
            time: histogram(&meter, &table::BATCH_TIME, &families),
            commits: histogram(&meter, &table::COMMIT_TIME, &families),
        });
        Ok(Self { tracers, meters, batches })
    }

    /// What a pipeline tells its batches to.
    pub fn observer(&self) -> Arc<dyn Observer> {
        self.batches.clone()
    }

    /// Sends what is left, for a few seconds at most.
    pub async fn shutdown(self) {
        let Self { tracers, meters, .. } = self;
        // Both wait for threads of theirs, which need this runtime to send. What cannot be sent has been told already.
        let flushing = tokio::task::spawn_blocking(move || {
            let _ = tracers.shutdown_with_timeout(FLUSH_WITHIN);
            let _ = meters.shutdown_with_timeout(FLUSH_WITHIN);
        });
        let _ = timeout(FLUSH_WITHIN, flushing).await;
    }
}

fn resource(version: &'static str) -> Resource {
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", version));
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name("etl-worker").build(),
    }
}

/// Each metric as an instrument that is asked when it is exported. Histograms are told what they hold as it happens.
fn observe(meter: &Meter, telemetry: &Arc<Telemetry>) {
    let recent = Arc::new(Recent { telemetry: telemetry.clone(), families: Mutex::default() });
    for metric in METRICS.iter().copied() {
        let recent = recent.clone();
        let told = move |observer: &dyn Fn(f64, &[KeyValue])| {
            for family in recent.families().iter().filter(|family| family.metric == metric) {
                for point in &family.points {
                    let labels: Vec<_> = point
                        .labels
                        .iter()
                        .map(|(name, value)| KeyValue::new(*name, value.to_string()))
                        .collect();
                    match point.value {
                        Value::Whole(number) => observer(number as f64, &labels),
                        Value::Measured(number) => observer(number, &labels),
                        Value::Info => observer(1.0, &labels),
                        Value::Histogram { .. } => {}
                    }
                }
            }
        };
        let (name, unit) = (name_of(metric), unit_of(metric));
        match metric.kind {
            Kind::Counter => drop(
                meter
                    .f64_observable_counter(name)
                    .with_description(metric.meaning)
                    .with_unit(unit)
                    .with_callback(move |observer| told(&|value, labels| observer.observe(value, labels)))
                    .build(),
            ),
            Kind::Gauge | Kind::Info => drop(
                meter
                    .f64_observable_gauge(name)
                    .with_description(metric.meaning)
                    .with_unit(unit)
                    .with_callback(move |observer| told(&|value, labels| observer.observe(value, labels)))
                    .build(),
            ),
            Kind::Histogram => {}
        }
    }
}

/// With the buckets that `/metrics` has: the SDK's own are for milliseconds.
fn histogram(meter: &Meter, metric: &'static Metric, families: &[Family]) -> Histogram<f64> {
    meter
        .f64_histogram(name_of(metric))
        .with_description(metric.meaning)
        .with_unit(unit_of(metric))
        .with_boundaries(bounds_of(metric, families))
        .build()
}

/// The upper bounds of a histogram's buckets, but for the last, which is infinite.
fn bounds_of(metric: &Metric, families: &[Family]) -> Vec<f64> {
    let points = families.iter().filter(|family| family.metric == metric).flat_map(|family| &family.points);
    let bounds = points.flat_map(|point| match &point.value {
        Value::Histogram { buckets, .. } => buckets.as_slice(),
        _ => &[],
    });
    bounds.map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).collect()
}

/// The name in the table; a counter's without `_total`, which Prometheus alone has.
fn name_of(metric: &Metric) -> String {
    let name = metric.name();
    name.strip_suffix("_total").map(str::to_owned).unwrap_or(name)
}

fn unit_of(metric: &Metric) -> &'static str {
    match metric.unit {
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "By",
        Some(Unit::Rows) => "{row}",
        None => "1",
    }
}

/// All numbers, not older than a second.
struct Recent {
    telemetry: Arc<Telemetry>,
    families: Mutex<Option<(Instant, Arc<Vec<Family>>)>>,
}

impl Recent {
    fn families(&self) -> Arc<Vec<Family>> {
        let mut known = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((at, families)) if at.elapsed() < FRESH_FOR => families.clone(),
            _ => {
                let families = Arc::new(self.telemetry.families());
                *known = Some((Instant::now(), families.clone()));
                families
            }
        }
    }
}

/// Makes a span of each batch.
struct Batches {
    tracer: SdkTracer,
    rows: Histogram<f64>,
    time: Histogram<f64>,
    commits: Histogram<f64>,
}

impl Observer for Batches {
    fn batch_ended(&self, batch: &EndedBatch) {
        self.rows.record(batch.messages as f64, &[]);
        self.time.record(batch.took.as_secs_f64(), &[]);
        let ended_at = SystemTime::now();
        let attributes = [
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.batch.message_count", i64::try_from(batch.messages).unwrap_or(i64::MAX)),
            KeyValue::new("etl.rejected", i64::try_from(batch.rejected).unwrap_or(i64::MAX)),
        ];
        let span = self
            .tracer
            .span_builder("write batch")
            .with_kind(SpanKind::Consumer)
            .with_start_time(ended_at - batch.took)
            .with_attributes(attributes)
            .with_links(batch.traces.iter().map(link).collect());
        // A root of its own: a batch has messages of many traces.
        let mut span = span.start_with_context(&self.tracer, &Context::new());
        if !batch.is_settled {
            span.set_status(Status::error("given back to the queue"));
        }
        span.end_with_timestamp(ended_at);
    }

    fn committed(&self, took: Duration) {
        self.commits.record(took.as_secs_f64(), &[]);
    }
}

fn link(trace: &TraceParent) -> Link {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, span_id) = (TraceId::from_bytes(trace.trace_id()), SpanId::from_bytes(trace.span_id()));
    Link::with_context(SpanContext::new(trace_id, span_id, flags, true, TraceState::default()))
}

/// A client for one endpoint: root certificates are read only where they are needed.
fn client(endpoint: &str) -> Result<Arc<dyn HttpClient>, OtlpError> {
    let runtime = Handle::try_current().map_err(|_| OtlpError("there is no runtime"))?;
    if endpoint.starts_with("https://") {
        let connector: HttpsConnector<HttpConnector> = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|_| OtlpError("this machine has no root certificates"))?
            .https_only()
            .enable_http1()
            .build();
        return Ok(Arc::new(Sender::new(connector, runtime)));
    }
    Ok(Arc::new(Sender::new(HttpConnector::new(), runtime)))
}

/// Sends requests on the program's runtime: the SDK asks from threads of its own.
#[derive(Debug)]
struct Sender<C> {
    http: Client<C, Full<Bytes>>,
    runtime: Handle,
    failing: AtomicBool,
}

impl<C: Connect + Clone + Send + Sync + 'static> Sender<C> {
    fn new(connector: C, runtime: Handle) -> Self {
        let http = Client::builder(TokioExecutor::new()).build(connector);
        Self { http, runtime, failing: AtomicBool::new(false) }
    }

    /// Said once when it begins, and once when it ends.
    fn tell(&self, failure: Option<String>) {
        let was_failing = self.failing.swap(failure.is_some(), Relaxed);
        match failure {
            Some(failure) if !was_failing => {
                warn!(event = "otlp_failed", error = %failure, "cannot export to the collector; what it misses is lost");
            }
            None if was_failing => info!(event = "otlp_recovered", "the collector takes exports again"),
            _ => {}
        }
    }
}

#[async_trait]
impl<C: Connect + Clone + fmt::Debug + Send + Sync + 'static> HttpClient for Sender<C> {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        // The clock belongs to the runtime, too: nothing of this may begin on the SDK's thread.
        let asking = self.runtime.spawn(async move {
            let answering = async {
                let (parts, body) = http.request(request.map(Full::new)).await?.into_parts();
                let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?.to_bytes();
                Ok::<_, HttpError>(Response::from_parts(parts, body))
            };
            timeout(ANSWER_WITHIN, answering).await
        });
        let answer = match asking.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(elapsed)) => Err(elapsed.into()),
            Err(ended) => Err(ended.into()),
        };
        // The library's text of an error may quote the endpoint.
        self.tell(match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("status {}", response.status().as_u16())),
            Err(_) => Some("no answer".to_owned()),
        });
        answer
    }
}
