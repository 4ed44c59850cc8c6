//! A whole pipeline inside one's own program: `cargo run -p fetch-etl-core --example embed`.
//!
//! Source and sink are in memory here. In production they are `SqsSource` and `PostgresSink`, or your own
//! implementations of `MessageSource` and `Sink`: nothing else changes.

#![expect(clippy::print_stdout, reason = "an example shows what comes out")]

use std::error::Error;
use std::sync::Arc;

use fetch_etl_core::login::{LoginRow, LoginSchema};
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_core::{KeyId, MaskedValue};
use fetch_etl_mask::{HmacSha512Masker, MasterKey};
use fetch_etl_testing::{InMemorySink, InMemorySource};
use tokio_util::sync::CancellationToken;

const MESSAGES: [&str; 4] = [
    r#"{"user_id":"ada","app_version":"2.3.0","device_type":"ios","ip":"203.0.113.7","locale":"GB","device_id":"593-47-5928"}"#,
    r#"{"user_id":"bob","app_version":"4.8","device_type":"android","ip":"::ffff:203.0.113.7","locale":null,"device_id":"826-98-8571"}"#,
    r#"{"user_id":"cyd","app_version":"5","device_type":"android","ip":null,"locale":"US","device_id":"593-47-5928"}"#,
    r#"{"user_id":"dee"}"#,
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let source = Arc::new(InMemorySource::new());
    for message in MESSAGES {
        source.send(message);
    }
    // An example's key: yours comes from 32 random bytes in a file (`openssl rand -base64 32`).
    let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")?;
    let masker = HmacSha512Masker::new(&key, KeyId::new(1), "default")?.with_fields(["ip", "device_id"]);
    let sink = Arc::new(InMemorySink::<LoginRow>::new());

    // The batch mode: ends when the queue is empty. Without it, cancelling the token is what ends a pipeline.
    let config = PipelineConfig { until_empty: true, ..PipelineConfig::default() };
    let pipeline = Pipeline::new(config, source.clone(), LoginSchema, Arc::new(masker), sink.clone());
    let summary = pipeline.run(CancellationToken::new()).await?;

    println!("user  version  masked_ip     masked_device_id");
    for stored in sink.rows() {
        let LoginRow { user_id, app_version_text, masked_ip, masked_device_id, .. } = &stored.row;
        let version = app_version_text.as_deref().unwrap_or("NULL");
        println!(
            "{user_id:5} {version:8} {:13} {}",
            start_of(masked_ip.as_ref()),
            start_of(masked_device_id.as_ref())
        );
    }
    for reject in sink.quarantine() {
        println!("rejected: {} ({} {})", reject.key, reject.reason, reject.field.unwrap_or_default());
    }
    println!("{summary}");
    println!("left in the queue for its dead-letter policy: {}", summary.left_in_queue);
    Ok(())
}

/// Ada's and Bob's addresses are the same one in two spellings, and so are their masks.
fn start_of(mask: Option<&MaskedValue>) -> String {
    mask.map_or_else(|| "NULL".to_owned(), |mask| mask.to_text().chars().take(12).collect())
}
