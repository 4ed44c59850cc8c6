//! What this crate logs holds nothing of a secret, at any level.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fetch_etl_secrets::{
    FileSecret, KmsOptions, KmsWrappedSecret, SecretSource, SecretsManagerSecret, ValueSecret,
};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::scripted::{Answer, Scripted, sdk};
use crate::support::{CANARY, refusal, secret};

/// Everything that anybody logs, as (target, text).
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<(String, String)>>>);

impl Everything {
    fn texts(&self, crate_name: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .filter(|(target, _)| target.starts_with(crate_name))
            .map(|(_, text)| text.clone())
            .collect()
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

/// Every source, well and failing.
async fn use_everything() {
    let directory = tempfile::tempdir().unwrap();
    let (plain, wrapped) = (directory.path().join("plain"), directory.path().join("wrapped"));
    fs::write(&plain, CANARY).unwrap();
    fs::write(&wrapped, "AAEC").unwrap();
    let good = json!({"SecretString": CANARY, "Plaintext": STANDARD.encode(CANARY)});
    let good = Scripted::start(move |_| Answer::Ok(good.clone())).await;
    let bad = Scripted::start(|_| Answer::Error(400, "AccessDeniedException")).await;
    let sources = |server: &Scripted| -> [Box<dyn SecretSource>; 2] {
        let (options, kms) = (server.options(), KmsOptions::default());
        [
            Box::new(SecretsManagerSecret::connect_with("etl/key", options.clone(), &sdk()).unwrap()),
            Box::new(KmsWrappedSecret::connect_with(&wrapped, kms, options, &sdk()).unwrap()),
        ]
    };
    for source in &sources(&good) {
        assert_eq!(secret(source.as_ref()).await, CANARY);
    }
    for source in &sources(&bad) {
        refusal(source.as_ref()).await;
    }
    assert_eq!(secret(&FileSecret::new(plain)).await, CANARY);
    assert_eq!(secret(&ValueSecret::new("masking.key", CANARY.to_owned())).await, CANARY);
}

/// On one thread, because that is what a default subscriber is for.
#[tokio::test(flavor = "current_thread")]
async fn our_own_lines_hold_nothing_of_a_secret_at_any_level() {
    let log = Everything::default();
    // With one subscriber alone, tracing asks the thread that comes by a line first whether anybody wants it, and remembers a no
    // for all threads; other tests run on threads without one. With two it asks all subscribers.
    let _second = Dispatch::new(tracing_subscriber::registry().with(Everything::default()));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log.clone()));
    tracing::callsite::rebuild_interest_cache();
    use_everything().await;

    let lines = log.texts("fetch_etl_secrets");
    for event in ["secret_asked", "secret_received"] {
        assert!(lines.iter().any(|line| line.contains(event)), "{event} in {lines:?}");
    }
    let encoded = STANDARD.encode(CANARY);
    let shows = |line: &&String| line.contains(CANARY) || line.contains(&encoded);
    let leaks: Vec<_> = lines.iter().filter(shows).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
    // And this would have found a leak: the SDK prints what the service says in words, which the server made to hold it.
    assert!(log.texts("aws_").iter().any(|line| line.contains(CANARY)));
}
