//! Whatever is sent comes out of both transports alike.

use std::time::Duration;

use aws_sdk_sqs::types::MessageAttributeValue;
use fetch_etl_core::{Delivery, MessageSource};
use fetch_etl_sqs::{ORIGIN_ATTRIBUTE, ORIGIN_SENT_ATTRIBUTE, SqsConfig, SqsSource, Transport};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::support::{Local, committed, receive, returned};

#[derive(Debug, Clone)]
struct Sent {
    body: String,
    key: Option<String>,
    origin: Option<String>,
    origin_sent: Option<String>,
}

/// Texts of which SQS allows the characters.
fn texts() -> BoxedStrategy<String> {
    let allowed = |text: String| {
        text.replace(|c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'), "")
    };
    any::<String>().prop_map(allowed).prop_filter("an empty one is refused", |text| !text.is_empty()).boxed()
}

fn messages() -> impl Strategy<Value = Vec<Sent>> {
    let of = prop::option::of::<BoxedStrategy<String>>;
    let body = prop_oneof![texts(), r#"\{"user_id":"[a-z"\\/é😀]{0,40}"\}"#, "[ -~]{1,2000}"];
    let sent = (body, of(texts()), of(texts()), of(prop_oneof![texts(), "[0-9]{1,13}"].boxed()));
    let sent = sent.prop_map(|(body, key, origin, origin_sent)| Sent { body, key, origin, origin_sent });
    prop::collection::vec(sent, 1..=10)
}

fn seen(deliveries: &[Delivery]) -> Vec<String> {
    let show = |d: &Delivery| {
        format!(
            "{:?} {:?} {:?} {:?} {:?}",
            d.id,
            d.key,
            d.sent_at,
            String::from_utf8_lossy(d.body.expose()),
            d.receipt.handle().len()
        )
    };
    let mut all: Vec<_> = deliveries.iter().map(show).collect();
    all.sort_unstable();
    all
}

struct Rig {
    local: Local,
    by_sdk: SqsSource,
    lean: SqsSource,
}

impl Rig {
    async fn start() -> Self {
        let local = Local::start().await;
        let config =
            |transport| SqsConfig { key_attribute: Some("event-id".into()), transport, ..local.config() };
        let by_sdk = SqsSource::connect(config(Transport::Sdk)).await.unwrap();
        let lean = SqsSource::connect(config(Transport::Lean)).await.unwrap();
        Self { local, by_sdk, lean }
    }

    async fn send(&self, messages: &[Sent]) {
        let client = self.local.client();
        for message in messages {
            let mut request =
                client.send_message().queue_url(self.local.queue_url()).message_body(&message.body);
            for (name, text) in [
                ("event-id", &message.key),
                (ORIGIN_ATTRIBUTE, &message.origin),
                (ORIGIN_SENT_ATTRIBUTE, &message.origin_sent),
            ] {
                if let Some(text) = text {
                    let value = MessageAttributeValue::builder().data_type("String").string_value(text);
                    request = request.message_attributes(name, value.build().unwrap());
                }
            }
            request.send().await.unwrap();
        }
    }

    async fn check(&self, messages: &[Sent]) -> Result<(), TestCaseError> {
        self.send(messages).await;
        let deliveries = receive(&self.by_sdk).await;
        let by_sdk = seen(&deliveries);
        self.lean.nack(returned(deliveries), Duration::ZERO).await.unwrap();
        let deliveries = receive(&self.lean).await;
        let lean = seen(&deliveries);
        self.lean.ack(committed(deliveries).await).await.unwrap();
        prop_assert_eq!(lean.len(), messages.len());
        prop_assert_eq!(lean, by_sdk);
        let stats = self.local.queue.stats();
        prop_assert_eq!((stats.ready, stats.in_flight), (0, 0));
        Ok(())
    }
}

#[test]
fn whatever_is_sent_comes_out_alike() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let rig = runtime.block_on(Rig::start());
    let cases = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let outcome = TestRunner::new(cases).run(&messages(), |messages| runtime.block_on(rig.check(&messages)));
    outcome.unwrap();
}
