//! How many messages the queue holds, asked now and then.

use std::sync::Arc;
use std::time::Duration;

use fetch_etl_core::MessageSource;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use crate::Telemetry;

/// The time between two questions: SQS's numbers lag by about a minute anyway, and each question is a call that is paid for.
const ASK_EACH: Duration = Duration::from_secs(30);

/// Asks the queue how many messages it holds, until what this returns is dropped, or until it does not tell. To be called within
/// a runtime.
pub fn watch_queue(telemetry: Arc<Telemetry>, source: Arc<dyn MessageSource>) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            match source.depth().await {
                Ok(Some(depth)) => telemetry.queue_depth(Some(depth)),
                Ok(None) => {
                    telemetry.queue_depth(None);
                    info!(
                        event = "queue_depth_unknown",
                        "the queue does not tell how many messages it holds, or these credentials may not ask \
                         (sqs:GetQueueAttributes); it is not asked again"
                    );
                    return;
                }
                Err(error) => {
                    // An old number would look like a current one.
                    telemetry.queue_depth(None);
                    debug!(event = "queue_depth_failed", error = %error);
                }
            }
            // Workers that start together must not ask together.
            sleep(ASK_EACH.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        }
    }))
}
