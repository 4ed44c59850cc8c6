//! The answer to a receive.

use super::json::{Reader, Result, Unreadable, document};
use crate::calls::Received;
use crate::message::{Attributes, Incoming, KeyAttributes};

/// As many as a call brings.
const MOST: usize = 10;

/// Reads the deliveries; bodies are copied once, into what is zeroized.
pub(super) fn received(body: &[u8], keys: &KeyAttributes) -> Result<Received> {
    let mut messages = Vec::with_capacity(MOST);
    document(body, |name, reader| match name {
        "Messages" => {
            messages.clear();
            reader.array(|reader| message(reader, keys).map(|message| messages.push(message))).map(drop)
        }
        _ => reader.skip(),
    })?;
    let received = messages.len();
    let deliveries: Vec<_> = messages.into_iter().filter_map(Incoming::into_delivery).collect();
    Ok(Received { incomplete: received - deliveries.len(), deliveries })
}

fn message<'a>(reader: &mut Reader<'a>, keys: &KeyAttributes) -> Result<Incoming<'a>> {
    let mut incoming = Incoming::default();
    let is_there = reader.object(|name, reader| {
        match name {
            "MessageId" => incoming.id = reader.text()?,
            "ReceiptHandle" => incoming.receipt = reader.text()?,
            "Body" => incoming.body = reader.sensitive()?,
            "Attributes" => system(reader, &mut incoming)?,
            "MessageAttributes" => incoming.attributes = stated(reader, keys)?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    // `null` is no message.
    is_there.then_some(incoming).ok_or(Unreadable)
}

/// The attributes that SQS makes.
fn system<'a>(reader: &mut Reader<'a>, incoming: &mut Incoming<'a>) -> Result<()> {
    (incoming.sent, incoming.count, incoming.trace) = (None, None, None);
    reader.object(|name, reader| {
        match name {
            "SentTimestamp" => incoming.sent = reader.text()?,
            "ApproximateReceiveCount" => incoming.count = reader.text()?,
            "AWSTraceHeader" => incoming.trace = reader.text()?,
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    Ok(())
}

/// The attributes that producers make.
fn stated<'a>(reader: &mut Reader<'a>, keys: &KeyAttributes) -> Result<Attributes<'a>> {
    let mut attributes = Attributes::default();
    reader.object(|name, reader| {
        let Some(role) = keys.role(name) else { return reader.skip() };
        let mut text = None;
        reader.object(|name, reader| {
            match name {
                "StringValue" => text = reader.text()?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        attributes.set(role, text);
        Ok(())
    })?;
    Ok(attributes)
}
