//! `limit.queue`: how fast the queue can be emptied at all.

use super::QueuePlace;
use crate::Result;
use crate::sqs::{Connection, Received};

/// Enough to keep the server busy while this process parses.
const CONNECTIONS: usize = 8;

pub(super) async fn run(place: QueuePlace) -> Result<()> {
    futures_util::future::try_join_all((0..CONNECTIONS).map(|_| empty(&place))).await.map(drop)
}

async fn empty(place: &QueuePlace) -> Result<()> {
    let mut connection = Connection::open(&place.endpoint, &place.url).await?;
    loop {
        let answer = connection.receive().await?;
        let Received { messages } = serde_json::from_slice(&answer)?;
        if messages.is_empty() {
            return Ok(());
        }
        connection.delete(messages.iter().map(|message| message.receipt_handle)).await?;
    }
}
