//! The bodies of requests, as JSON. Queue URLs, receipts and names of attributes come from elsewhere, so all are escaped.

use std::fmt::Write as _;

use bytes::Bytes;

use super::json::plain;
use crate::calls::Ask;

/// A receive, of which only the number of messages changes.
#[derive(Debug)]
pub(super) struct Receive {
    before_max: String,
    after_max: String,
}

impl Receive {
    pub(super) fn new(ask: &Ask) -> Self {
        let mut before_max = open(&ask.queue_url, 0);
        before_max.push_str(",\"MaxNumberOfMessages\":");
        let mut after_max = String::new();
        let _ = write!(
            after_max,
            ",\"WaitTimeSeconds\":{},\"VisibilityTimeout\":{},\
             \"MessageSystemAttributeNames\":[\"SentTimestamp\",\"ApproximateReceiveCount\",\"AWSTraceHeader\"],\
             \"MessageAttributeNames\":[",
            ask.wait_s, ask.lease_s
        );
        for (index, name) in ask.keys.names().iter().enumerate() {
            if index > 0 {
                after_max.push(',');
            }
            quote(&mut after_max, name);
        }
        after_max.push_str("]}");
        Self { before_max, after_max }
    }

    pub(super) fn body(&self, max: usize) -> Bytes {
        let mut body = String::with_capacity(self.before_max.len() + self.after_max.len() + 2);
        body.push_str(&self.before_max);
        let _ = write!(body, "{max}");
        body.push_str(&self.after_max);
        body.into()
    }
}

pub(super) fn delete(queue_url: &str, handles: &[&str]) -> Bytes {
    entries(queue_url, handles, "")
}

pub(super) fn change_visibility(queue_url: &str, handles: &[&str], seconds: i32) -> Bytes {
    entries(queue_url, handles, &format!(",\"VisibilityTimeout\":{seconds}"))
}

/// Entries with their places as ids; what all have in common comes last in each.
fn entries(queue_url: &str, handles: &[&str], common: &str) -> Bytes {
    const OF_ENTRY: usize = "{\"Id\":\"10\",\"ReceiptHandle\":\"\"},".len();
    let bytes: usize = handles.iter().map(|handle| OF_ENTRY + handle.len() + common.len()).sum();
    let mut body = open(queue_url, bytes);
    body.push_str(",\"Entries\":[");
    for (index, handle) in handles.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        let _ = write!(body, "{{\"Id\":\"{index}\",\"ReceiptHandle\":");
        quote(&mut body, handle);
        body.push_str(common);
        body.push('}');
    }
    body.push_str("]}");
    body.into()
}

fn open(queue_url: &str, room: usize) -> String {
    let mut body = String::with_capacity(queue_url.len() + 64 + room);
    body.push_str("{\"QueueUrl\":");
    quote(&mut body, queue_url);
    body
}

/// Writes a JSON string.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let at = plain(rest.as_bytes());
        let Some(byte) = rest.as_bytes().get(at) else { break };
        out.push_str(&rest[..at]);
        // A byte below 0x80 is a character.
        let _ = write!(out, "\\u{byte:04x}");
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::message::KeyAttributes;

    fn read(body: &Bytes) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn a_receive_asks_for_what_is_needed() {
        let keys = KeyAttributes::new(Some("event-id".into()));
        let ask = Ask { queue_url: "http://q/1".into(), wait_s: 20, lease_s: 40, keys };
        let receive = Receive::new(&ask);
        for max in [1, 10] {
            let expected = json!({
                "QueueUrl": "http://q/1",
                "MaxNumberOfMessages": max,
                "WaitTimeSeconds": 20,
                "VisibilityTimeout": 40,
                "MessageSystemAttributeNames": ["SentTimestamp", "ApproximateReceiveCount", "AWSTraceHeader"],
                "MessageAttributeNames": ["event-id", "origin-message-id", "origin-sent-timestamp"],
            });
            assert_eq!(read(&receive.body(max)), expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_receipt_arrives(url in any::<String>(), handles in prop::collection::vec(any::<String>(), 1..=10)) {
            let handles: Vec<_> = handles.iter().map(String::as_str).collect();
            let entry = |(index, handle): (usize, &&str)| json!({"Id": index.to_string(), "ReceiptHandle": handle});
            let entries: Vec<_> = handles.iter().enumerate().map(entry).collect();
            prop_assert_eq!(read(&delete(&url, &handles)), json!({"QueueUrl": url, "Entries": entries}));
            let extended: Vec<_> = entries
                .into_iter()
                .map(|mut entry| {
                    entry["VisibilityTimeout"] = 30.into();
                    entry
                })
                .collect();
            prop_assert_eq!(read(&change_visibility(&url, &handles, 30)), json!({"QueueUrl": url, "Entries": extended}));
        }
    }
}
