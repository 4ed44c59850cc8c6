//! What the service refuses before it touches a queue.

use crate::attribute;
use crate::error::{ErrorKind, SqsError};
use crate::limits::{MAX_BATCH, MAX_DELAY_S, MAX_MESSAGE_BYTES, MAX_NAME, MAX_VISIBILITY_S};
use crate::message::{Draft, Extra, check_text};
use crate::wire::request::{AttributeMap, SentMessage};

/// A whole batch is refused for its number of entries or for their ids.
pub(super) fn batch<'a>(
    operation: &str,
    ids: impl ExactSizeIterator<Item = &'a str> + Clone,
) -> Result<(), SqsError> {
    if ids.len() == 0 {
        return Err(SqsError::new(
            ErrorKind::EmptyBatchRequest,
            format!("There should be at least one {operation}RequestEntry in the request."),
        ));
    }
    if ids.len() > MAX_BATCH {
        return Err(SqsError::new(
            ErrorKind::TooManyEntriesInBatchRequest,
            format!("Maximum number of entries per request are {MAX_BATCH}. You have sent {}.", ids.len()),
        ));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if ids.clone().any(|id| id.is_empty() || id.len() > MAX_NAME || !id.bytes().all(allowed)) {
        return Err(SqsError::new(
            ErrorKind::InvalidBatchEntryId,
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most \
             80 letters long.",
        ));
    }
    // At most ten: comparing all of them is cheaper than a set.
    let repeated =
        ids.clone().enumerate().find(|(position, id)| ids.clone().take(*position).any(|other| other == *id));
    match repeated {
        None => Ok(()),
        Some((_, id)) => {
            Err(SqsError::new(ErrorKind::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")))
        }
    }
}

/// A batch of messages is refused as a whole if all of them together are too long.
pub(super) fn batch_size(bytes: usize) -> Result<(), SqsError> {
    if bytes <= MAX_MESSAGE_BYTES as usize {
        return Ok(());
    }
    Err(SqsError::new(
        ErrorKind::BatchRequestTooLong,
        format!(
            "Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {bytes} bytes."
        ),
    ))
}

/// Checks a message but for its length, which is up to its queue, and computes what can be computed before any queue
/// is locked.
pub(super) fn message(sent: SentMessage<'_>) -> Result<Draft, SqsError> {
    if sent.message_body.is_empty() {
        return Err(SqsError::missing("MessageBody"));
    }
    let bytes = size(&sent);
    let delay_s = sent.delay_seconds.map(delay).transpose()?;
    check_text(&sent.message_body)?;
    let extra = Extra {
        attributes: attribute::check(sent.message_attributes)?,
        trace_header: trace_header(sent.message_system_attributes)?,
        group_id: sent.message_group_id.map(Box::from),
    };
    let mut draft = Draft::new(sent.message_body);
    draft.bytes = bytes;
    draft.delay_s = delay_s;
    draft.extra = (!extra.is_empty()).then(|| Box::new(extra));
    Ok(draft)
}

/// What a message counts against the limits, as the service counts: the body, and name, type and value of its
/// attributes.
pub(super) fn size(sent: &SentMessage<'_>) -> usize {
    let attributes = sent.message_attributes.iter().map(|(name, attribute)| name.len() + attribute.size());
    sent.message_body.len() + attributes.sum::<usize>()
}

fn delay(delay_s: i64) -> Result<u32, SqsError> {
    in_range(delay_s, 0, MAX_DELAY_S).ok_or_else(|| {
        SqsError::out_of_range(
            delay_s,
            "DelaySeconds",
            &format!("DelaySeconds must be >= 0 and <= {MAX_DELAY_S}."),
        )
    })
}

pub(super) fn visibility(visibility_s: i64) -> Result<u32, SqsError> {
    in_range(visibility_s, 0, MAX_VISIBILITY_S).ok_or_else(|| {
        SqsError::out_of_range(
            visibility_s,
            "VisibilityTimeout",
            &format!("VisibilityTimeout must be an integer between 0 and {MAX_VISIBILITY_S}."),
        )
    })
}

pub(super) fn in_range(value: i64, min: i64, max: i64) -> Option<u32> {
    u32::try_from(value).ok().filter(|_| (min..=max).contains(&value))
}

/// The only system attribute that a sender can set.
fn trace_header(mut attributes: AttributeMap<'_>) -> Result<Option<Box<str>>, SqsError> {
    let header = attributes.remove("AWSTraceHeader");
    if let Some((name, _)) = attributes.pop_first() {
        return Err(SqsError::invalid_parameter(format!(
            "Message system attribute name '{name}' is invalid."
        )));
    }
    let Some(header) = header else { return Ok(None) };
    match header.string_value.filter(|value| header.data_type == "String" && !value.is_empty()) {
        Some(value) => Ok(Some(value.into())),
        None => {
            Err(SqsError::invalid_parameter("Message system attribute 'AWSTraceHeader' must be a String."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind<T>(result: Result<T, SqsError>) -> Option<ErrorKind> {
        result.err().map(|e| e.kind)
    }

    #[test]
    fn batches_are_refused_for_their_shape() {
        let check = |ids: &[&str]| kind(batch("SendMessageBatch", ids.iter().copied()));
        assert_eq!(check(&["a", "b-_1"]), None);
        assert_eq!(check(&[]), Some(ErrorKind::EmptyBatchRequest));
        assert_eq!(check(&["x"; 11]), Some(ErrorKind::TooManyEntriesInBatchRequest));
        for bad in ["", "a:b", "é", &"i".repeat(81)] {
            assert_eq!(check(&["a", bad]), Some(ErrorKind::InvalidBatchEntryId), "{bad}");
        }
        assert_eq!(check(&["a", "b", "a"]), Some(ErrorKind::BatchEntryIdsNotDistinct));
    }

    #[test]
    fn the_size_of_a_batch_is_limited_to_the_byte_and_no_body_is_empty() {
        assert_eq!(kind(message(SentMessage::default())), Some(ErrorKind::MissingParameter));
        assert_eq!(kind(batch_size(1_048_576)), None);
        assert_eq!(kind(batch_size(1_048_577)), Some(ErrorKind::BatchRequestTooLong));
    }

    #[test]
    fn ranges_hold_at_both_ends() {
        assert_eq!((delay(0).ok(), delay(900).ok()), (Some(0), Some(900)));
        assert_eq!((visibility(0).ok(), visibility(43_200).ok()), (Some(0), Some(43_200)));
        for bad in [-1, 901, i64::MAX] {
            assert_eq!(kind(delay(bad)), Some(ErrorKind::InvalidParameterValue), "{bad}");
        }
        for bad in [-1, 43_201, i64::MIN] {
            assert_eq!(kind(visibility(bad)), Some(ErrorKind::InvalidParameterValue), "{bad}");
        }
    }
}
