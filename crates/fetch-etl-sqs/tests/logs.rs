//! What this crate logs holds nothing of a message, at any level.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;
use fetch_etl_core::MessageSource;
use fetch_etl_sqs::{ORIGIN_ATTRIBUTE, SqsConfig, SqsSource, Transport};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::scripted::{Answer, Scripted};
use crate::support::{Local, TRANSPORTS, again, at, committed, held, receive, returned, with_receipt};

const CANARY: &str = "canary-203.0.113.7";

/// Everything that anybody logs, as (target, text).
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<(String, String)>>>);

impl Everything {
    fn texts(&self, of_target: impl Fn(&str) -> bool) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(target, _)| of_target(target)).map(|(_, text)| text.clone()).collect()
    }
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{field}={value:?} ");
    }
}

impl<S: Subscriber> Layer<S> for Everything {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((event.metadata().target().to_owned(), text.0));
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut text = Text(String::new());
        attributes.record(&mut text);
        self.0.lock().unwrap().push((attributes.metadata().target().to_owned(), text.0));
    }
}

fn ours(target: &str) -> bool {
    target.starts_with("fetch_etl_sqs")
}

async fn use_everything(local: &Local, transport: Transport) {
    let key = MessageAttributeValue::builder().data_type("String").string_value(CANARY).build().unwrap();
    let client = local.client();
    for _ in 0..3 {
        let request = client.send_message().queue_url(local.queue_url()).message_body(CANARY);
        request.message_attributes(ORIGIN_ATTRIBUTE, key.clone()).send().await.unwrap();
    }
    let source = SqsSource::connect(SqsConfig { transport, ..local.config() }).await.unwrap();
    let deliveries = receive(&source).await;
    assert_eq!(deliveries.len(), 3);
    let copies = || deliveries.iter().map(again).collect::<Vec<_>>();
    source.extend(&held(copies()), Duration::from_secs(60)).await.unwrap();
    source.depth().await.unwrap();
    let mut to_ack = copies();
    to_ack.push(with_receipt(CANARY));
    source.ack(committed(to_ack).await).await.unwrap_err();
    source.nack(returned(copies()), Duration::ZERO).await.unwrap();
}

async fn fail_at_everything() {
    let body = format!(r#"{{"Messages":[{{"Body":"{CANARY}"}}]}}"#);
    let incomplete = Scripted::queue(move |_| Answer::ok(body.clone())).await;
    assert!(receive(&SqsSource::connect(at(&incomplete.url())).await.unwrap()).await.is_empty());
    let denied = Scripted::start(|call| match call.operation.as_str() {
        "GetQueueUrl" => Answer::ok(r#"{"QueueUrl":"http://queue.example/0/logins"}"#),
        _ => Answer::Error(403, "AccessDenied"),
    });
    let denied = denied.await;
    let source = SqsSource::connect(at(&denied.url())).await.unwrap();
    source.receive(1).await.unwrap_err();
    source.ack(committed(vec![with_receipt(CANARY)]).await).await.unwrap_err();
}

/// On one thread, because that is what a default subscriber is for.
#[tokio::test(flavor = "current_thread")]
async fn our_own_lines_hold_nothing_of_a_message_at_any_level() {
    let log = Everything::default();
    // With one subscriber alone, tracing asks the thread that comes by a line first whether anybody wants it, and remembers a no
    // for all threads; other tests run on threads without one. With two it asks all subscribers.
    let _second = Dispatch::new(tracing_subscriber::registry().with(Everything::default()));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    tracing::callsite::rebuild_interest_cache();
    for transport in TRANSPORTS {
        use_everything(&Local::start().await, transport).await;
    }
    fail_at_everything().await;

    let lines = log.texts(ours);
    for event in ["source_connected", "incomplete_messages", "visibility_timeout_assumed"] {
        assert!(lines.iter().any(|line| line.contains(event)), "{event} in {lines:?}");
    }
    let leaks: Vec<_> = lines.iter().filter(|line| line.contains(CANARY)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    // And this would have found a leak: the SDK has one, which the crate's page warns of.
    assert!(log.texts(|target| target.starts_with("aws_")).iter().any(|line| line.contains(CANARY)));
}
