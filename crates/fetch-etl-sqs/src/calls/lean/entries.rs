//! The answers to batches.

use std::borrow::Cow;

use serde::de::{IgnoredAny, MapAccess};

use super::json::{Fields, ReadEach, document, text};
use crate::batch::{FailedEntry, Outcomes};

pub(super) fn outcomes(body: &[u8], operation: &'static str, entries: usize) -> serde_json::Result<Outcomes> {
    let Answer { successful, failed } = document(Answer::default(), body)?;
    let successful = successful.iter().flatten().map(|entry| &*entry.id);
    let failed = failed.iter().flatten().map(|Entry { id, code, sender_fault }| FailedEntry {
        id,
        code,
        sender_fault: *sender_fault,
    });
    Ok(Outcomes::new(operation, entries, successful, failed))
}

#[derive(Default)]
struct Answer<'a> {
    successful: Option<Vec<Entry<'a>>>,
    failed: Option<Vec<Entry<'a>>>,
}

impl<'a> Fields<'a> for Answer<'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        let list = match name {
            "Successful" => &mut self.successful,
            "Failed" => &mut self.failed,
            _ => return map.next_value::<IgnoredAny>().map(drop),
        };
        *list = map.next_value_seed(ReadEach(Entry::default))?;
        Ok(())
    }
}

/// An entry, of either list; what is missing is empty, as it is to the SDK.
#[derive(Default)]
struct Entry<'a> {
    id: Cow<'a, str>,
    code: Cow<'a, str>,
    sender_fault: bool,
}

impl<'a> Fields<'a> for Entry<'a> {
    fn field<A: MapAccess<'a>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Id" => self.id = text(map)?.unwrap_or_default(),
            "Code" => self.code = text(map)?.unwrap_or_default(),
            "SenderFault" => self.sender_fault = map.next_value::<Option<bool>>()?.unwrap_or_default(),
            // The service's words, which may quote what was sent, are passed over too.
            _ => return map.next_value::<IgnoredAny>().map(drop),
        }
        Ok(())
    }
}
