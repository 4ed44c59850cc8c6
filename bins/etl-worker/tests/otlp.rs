//! What a collector gets from the real worker by OTLP.

use crate::support::{SqliteFile, finish, local_queue, worker};

#[cfg(not(feature = "otlp"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_it_says_so() {
    let server = local_queue().await;
    let database = SqliteFile::new();
    let ended = finish(
        worker(&["run", "--until-empty"])
            .env("ETL_TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
            .env("ETL_SINK__DATABASE_URL", database.url()),
    );
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("this build has no OTLP; it needs --features otlp"), "{}", ended.stderr);
}

#[cfg(feature = "otlp")]
mod exporting {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};

    use fetch_etl_local_sqs::RunningServer;
    use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
    use opentelemetry_proto::tonic::metrics::v1::Metric;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::number_data_point;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use prost::Message as _;

    use super::*;
    use crate::support::{Finished, login};

    const CANARIES: [&str; 3] = ["canary-user-7f3a", "203.0.113.77", "593-47-5928"];
    const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    const NOT_RECORDED: &str = "Root=1-5759e988-000000000000000000000001;Parent=53995c3f42cd8ad8;Sampled=0";

    /// The path of a request, and its body.
    type Request = (String, Vec<u8>);

    /// A collector that keeps what it gets, with what it answers.
    struct Collector {
        address: SocketAddr,
        requests: Arc<Mutex<Vec<Request>>>,
    }

    impl Collector {
        fn start(answer: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let requests = Arc::new(Mutex::new(Vec::new()));
            let kept = requests.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let kept = kept.clone();
                    std::thread::spawn(move || answer_all(stream, answer, &kept));
                }
            });
            Self { address, requests }
        }

        fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
            let requests = self.requests.lock().unwrap();
            requests.iter().filter(|(asked, _)| asked == path).map(|(_, body)| body.clone()).collect()
        }
    }

    fn answer_all(stream: TcpStream, answer: &str, kept: &Mutex<Vec<Request>>) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if line == "\r\n" {
                    break;
                }
                lines.push(line.trim_end().to_lowercase());
            }
            let path = lines[0].split(' ').nth(1).unwrap().to_owned();
            let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            assert!(lines.contains(&"content-type: application/x-protobuf".to_owned()), "{lines:?}");
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            kept.lock().unwrap().push((path, body));
            stream.write_all(format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        }
    }

    /// Sends a message with a trace header, as an instrumented producer does.
    fn send_traced(server: &RunningServer, body: &str, trace: &str) {
        let request = serde_json::json!({
            "QueueUrl": server.queue_url("logins"),
            "MessageBody": body,
            "MessageSystemAttributes": { "AWSTraceHeader": { "DataType": "String", "StringValue": trace } },
        })
        .to_string();
        let host = server.url().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let mut stream = TcpStream::connect(&host).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-target: AmazonSQS.SendMessage\r\ncontent-length: {}\r\n\r\n",
            request.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn run(server: &RunningServer, endpoint: &str) -> Finished {
        let database = SqliteFile::new();
        finish(
            worker(&["run", "--until-empty"])
                .env("ETL_TELEMETRY__OTLP_ENDPOINT", endpoint)
                .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
                .env("ETL_SOURCE__QUEUE_URL", server.queue_url("logins"))
                .env("ETL_SINK__DATABASE_URL", database.url()),
        )
    }

    fn text(value: Option<&AnyValue>) -> &str {
        match value.and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    fn attribute<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a AnyValue> {
        attributes.iter().find(|attribute| attribute.key == name)?.value.as_ref()
    }

    fn is_this_worker(resource: Option<&Resource>) {
        let attributes = &resource.unwrap().attributes;
        assert_eq!(text(attribute(attributes, "service.name")), "etl-worker");
        assert_eq!(text(attribute(attributes, "service.version")), env!("CARGO_PKG_VERSION"));
        assert_eq!(text(attribute(attributes, "deployment.environment.name")), "test");
    }

    fn sum(metrics: &[Metric], name: &str) -> f64 {
        let metric =
            metrics.iter().rfind(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"));
        let points = match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => &sum.data_points,
            Data::Gauge(gauge) => &gauge.data_points,
            other => panic!("{name}: {other:?}"),
        };
        let value = |point: &opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| match point.value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            other => panic!("{name}: {other:?}"),
        };
        points.iter().map(value).sum()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn batches_link_to_the_traces_of_their_messages_and_the_numbers_come() {
        let server = local_queue().await;
        send_traced(&server, &login(CANARIES[0], CANARIES[1]), TRACE);
        send_traced(&server, &login(CANARIES[0], CANARIES[1]), NOT_RECORDED);
        server.queue("logins").unwrap().send_many([format!("{{\"ip\":\"{}\"", CANARIES[1])]).unwrap();
        let collector = Collector::start("200 OK");
        let ended = run(&server, &format!("http://{}/", collector.address));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);

        let mut links = Vec::new();
        let mut messages = 0;
        for body in collector.bodies("/v1/traces") {
            for resource in ExportTraceServiceRequest::decode(&*body).unwrap().resource_spans {
                is_this_worker(resource.resource.as_ref());
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    assert_eq!(span.name, "write batch");
                    assert!(
                        span.parent_span_id.is_empty()
                            && span.end_time_unix_nano >= span.start_time_unix_nano
                    );
                    match attribute(&span.attributes, "messaging.batch.message_count")
                        .and_then(|value| value.value.as_ref())
                    {
                        Some(Value::IntValue(count)) => messages += count,
                        other => panic!("{other:?}"),
                    }
                    links.extend(span.links.into_iter().map(|link| (link.trace_id, link.span_id)));
                }
            }
        }
        let trace_id = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793_u128.to_be_bytes().to_vec();
        let span_id = 0x5399_5c3f_42cd_8ad8_u64.to_be_bytes().to_vec();
        assert_eq!(links, [(trace_id, span_id)]);

        let mut metrics = Vec::new();
        for body in collector.bodies("/v1/metrics") {
            for resource in ExportMetricsServiceRequest::decode(&*body).unwrap().resource_metrics {
                is_this_worker(resource.resource.as_ref());
                metrics.extend(resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
            }
        }
        assert_eq!(sum(&metrics, "etl_rows_inserted"), 2.0);
        assert_eq!(sum(&metrics, "etl_messages_received"), messages as f64);
        assert_eq!(sum(&metrics, "etl_conservation_difference"), 0.0);
        assert_eq!(sum(&metrics, "etl_build_info"), 1.0);
        let rows = metrics.iter().rfind(|metric| metric.name == "etl_batch_rows").unwrap();
        match rows.data.as_ref().unwrap() {
            Data::Histogram(rows) => assert_eq!(rows.data_points[0].sum, Some(messages as f64)),
            other => panic!("{other:?}"),
        }
        assert_eq!(rows.unit, "{row}");
        // Those of /metrics: the SDK's own begin at 5, which no commit takes in seconds.
        for (name, first, last) in [
            ("etl_batch_rows", 1.0, 100_000.0),
            ("etl_batch_seconds", 0.001, 300.0),
            ("etl_commit_seconds", 0.001, 300.0),
        ] {
            let metric = metrics.iter().rfind(|metric| metric.name == name).unwrap();
            let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{name}: {:?}", metric.data) };
            let bounds = &histogram.data_points[0].explicit_bounds;
            assert_eq!((bounds.first(), bounds.last()), (Some(&first), Some(&last)), "{name}: {bounds:?}");
            assert_eq!(histogram.data_points[0].bucket_counts.len(), bounds.len() + 1, "{name}");
        }

        for (path, body) in &*collector.requests.lock().unwrap() {
            for canary in CANARIES {
                let found = body.windows(canary.len()).any(|window| window == canary.as_bytes());
                assert!(!found, "{canary} in {path}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_is_gone_or_refuses_costs_one_line() {
        for endpoint in
            ["http://user:hunter2@127.0.0.1:1", &format!("http://{}", Collector::start("403 No").address)]
        {
            let server = local_queue().await;
            server.queue("logins").unwrap().send_many([login("u-1", "203.0.113.7")]).unwrap();
            let ended = run(&server, endpoint);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(ended.stdout.starts_with("received 1 = inserted 1 "), "{}", ended.stdout);
            assert_eq!(ended.stderr.matches("\"event\":\"otlp_failed\"").count(), 1, "{}", ended.stderr);
            assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        }
    }
}
