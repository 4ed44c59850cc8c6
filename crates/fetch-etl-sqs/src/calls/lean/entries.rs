//! The answers to batches.

use std::borrow::Cow;

use super::json::{Reader, Result, Unreadable, document};
use crate::batch::{FailedEntry, Outcomes};

pub(super) fn outcomes(body: &[u8], operation: &'static str, entries: usize) -> Result<Outcomes> {
    let (mut successful, mut failed) = (Vec::with_capacity(entries), Vec::new());
    document(body, |name, reader| {
        let list = match name {
            "Successful" => &mut successful,
            "Failed" => &mut failed,
            _ => return reader.skip(),
        };
        list.clear();
        reader.array(|reader| entry(reader).map(|entry| list.push(entry))).map(drop)
    })?;
    let successful = successful.iter().map(|entry: &Entry<'_>| &*entry.id);
    let failed = failed.iter().map(|Entry { id, code, sender_fault }| FailedEntry {
        id,
        code,
        sender_fault: *sender_fault,
    });
    Ok(Outcomes::new(operation, entries, successful, failed))
}

/// An entry, of either list; what is missing is empty, as it is to the SDK.
#[derive(Default)]
struct Entry<'a> {
    id: Cow<'a, str>,
    code: Cow<'a, str>,
    sender_fault: bool,
}

fn entry<'a>(reader: &mut Reader<'a>) -> Result<Entry<'a>> {
    let mut entry = Entry::default();
    let is_there = reader.object(|name, reader| {
        match name {
            "Id" => entry.id = reader.text()?.unwrap_or_default(),
            "Code" => entry.code = reader.text()?.unwrap_or_default(),
            "SenderFault" => entry.sender_fault = reader.boolean()?.unwrap_or_default(),
            // The service's words, which may quote what was sent, are passed over too.
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    is_there.then_some(entry).ok_or(Unreadable)
}
