//! The limits of the real service, in one place. Source: the Amazon SQS API reference and developer guide.

/// Entries in one batch call, and messages in one receive.
pub(crate) const MAX_BATCH: usize = 10;
/// Bytes of one message and of one whole batch: bodies and message attributes together.
pub(crate) const MAX_MESSAGE_BYTES: u32 = 1_048_576;
/// Longest long poll, in seconds.
pub(crate) const MAX_WAIT_S: i64 = 20;
/// Longest delay, in seconds.
pub(crate) const MAX_DELAY_S: i64 = 900;
/// Longest visibility timeout, in seconds; counted from the receive, however often it is extended.
pub(crate) const MAX_VISIBILITY_S: i64 = 43_200;
/// Messages of one queue that may be in flight.
pub(crate) const MAX_IN_FLIGHT: usize = 120_000;
/// Message attributes of one message.
pub(crate) const MAX_ATTRIBUTES: usize = 10;
/// Characters of an attribute's name or data type.
pub(crate) const MAX_ATTRIBUTE_NAME: usize = 256;
/// Characters of a queue's name or of a batch entry's id.
pub(crate) const MAX_NAME: usize = 80;
/// Queues in one page of ListQueues.
pub(crate) const MAX_PAGE: i64 = 1_000;
/// Bytes of an HTTP request. A message of 1 MiB can be six times as long when every character is escaped.
pub(crate) const MAX_REQUEST_BYTES: usize = 8 * MAX_MESSAGE_BYTES as usize;
