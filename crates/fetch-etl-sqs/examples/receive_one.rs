//! Receives one message, says what the queue says of it, and gives it back at once.
//!
//! ```text
//! cargo run -p fetch-etl-sqs --example receive_one                     # a queue in this process
//! cargo run -p fetch-etl-sqs --example receive_one -- logins           # yours, as the AWS environment says
//! cargo run -p fetch-etl-sqs --example receive_one -- https://sqs.eu-west-1.amazonaws.com/123456789012/logins
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::{MessageSource, Stager};
use fetch_etl_local_sqs::{LocalSqs, QueueConfig, RunningServer};
use fetch_etl_sqs::{Credentials, Queue, SqsConfig, SqsSource};
use fetch_etl_testing::FakeMasker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (config, _server) = match std::env::args().nth(1) {
        Some(url) if url.contains("://") => (SqsConfig::new(Queue::Url(url)), None),
        Some(name) => (SqsConfig::new(Queue::Name(name)), None),
        None => {
            let server = local_queue().await?;
            let queue = Queue::Url(server.queue_url("logins"));
            (SqsConfig { credentials: Credentials::Placeholder, ..SqsConfig::new(queue) }, Some(server))
        }
    };
    let source = SqsSource::connect(config).await?;
    println!("limits: {:?}", source.limits());
    println!("depth: {:?}", source.depth().await?);

    let deliveries = source.receive(1).await?;
    for delivery in &deliveries {
        // The body is personal data; its Debug shows how long it is, and nothing more.
        println!("received: {delivery:?}");
    }
    // What is neither acked nor given back comes back by itself when its lease ends. An ack needs a sink first:
    // only a write that it reports as durable makes a token that can be acked.
    let staged = Stager::new(LoginSchema, Arc::new(FakeMasker)).stage(deliveries);
    source.nack(staged.batch.into_returned(), Duration::ZERO).await?;
    println!("depth: {:?}", source.depth().await?);
    Ok(())
}

async fn local_queue() -> Result<RunningServer, Box<dyn Error>> {
    let server = LocalSqs::builder().queue(QueueConfig::new("logins")).bind("127.0.0.1:0").await?;
    let queue = server.queue("logins").ok_or("it was just created")?;
    queue.send_many([
        r#"{"user_id":"u-1","app_version":"2.3.0","device_type":"ios","ip":"203.0.113.7","locale":"de","device_id":"d-1"}"#,
    ])?;
    Ok(server)
}
