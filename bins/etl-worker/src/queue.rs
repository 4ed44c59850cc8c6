//! The queue that a configuration names.

use std::sync::Arc;

use fetch_etl_core::MessageSource;
use fetch_etl_sqs::{ConnectError, ConnectErrorKind, Queue, SqsConfig, SqsSource};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::patience::until_ready;
use crate::settings::{QueueRef, SourceSettings};

/// The queue, once it answers; `None` when a stop was asked for before.
///
/// # Errors
/// It cannot be opened, and trying again would not help.
pub(crate) async fn connect_when_ready(
    settings: &SourceSettings,
    stop: &CancellationToken,
) -> Result<Option<Arc<dyn MessageSource>>, Failure> {
    let config = config(settings);
    let attempt = || SqsSource::connect(config.clone());
    let source = until_ready("the queue", stop, ConnectError::class, attempt)
        .await
        .map_err(|error| failure(&error))?;
    Ok(source.map(|source| Arc::new(source) as Arc<dyn MessageSource>))
}

/// The queue, or at once why not.
///
/// # Errors
/// It cannot be opened.
pub(crate) async fn connect(settings: &SourceSettings) -> Result<SqsSource, Failure> {
    SqsSource::connect(config(settings)).await.map_err(|error| failure(&error))
}

/// What is wrong with the settings can be said before anybody is asked.
///
/// # Errors
/// No queue can be like that.
pub(crate) fn check(settings: &SourceSettings) -> Result<(), Failure> {
    config(settings).check().map_err(|error| Failure::usage(format!("source: {error}")))
}

/// What the source is told.
pub fn config(settings: &SourceSettings) -> SqsConfig {
    let queue = match &settings.queue {
        QueueRef::Url(url) => Queue::Url(url.clone()),
        QueueRef::Name(name) => Queue::Name(name.clone()),
    };
    SqsConfig {
        endpoint_url: settings.endpoint_url.clone(),
        region: settings.region.clone(),
        wait_time: settings.wait_time,
        visibility_timeout: settings.visibility_timeout,
        key_attribute: settings.key_attribute.clone(),
        credentials: settings.credentials,
        transport: settings.transport,
        ..SqsConfig::new(queue)
    }
}

/// What a user is told about a queue that cannot be opened.
pub fn failure(error: &ConnectError) -> Failure {
    match error.kind() {
        ConnectErrorKind::Config => Failure::usage(error.to_string()),
        _ => Failure::failed(error.to_string()),
    }
}
