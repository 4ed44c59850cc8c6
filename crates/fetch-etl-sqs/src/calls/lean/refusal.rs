//! The error code of an answer.

use aws_smithy_runtime_api::http::Headers;
use serde_json::Value;

/// The code, from wherever SQS, another part of AWS, or an emulator states it. `None` too where the body is something else than
/// JSON, for then somebody else answered.
pub(super) fn code(headers: &Headers, body: &[u8]) -> Option<String> {
    let body = if body.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        serde_json::from_slice(body).ok()?
    };
    // The code of the older query protocol, which SQS states for those who know no other.
    if let Some((code, _)) = headers.get("x-amzn-query-error").and_then(|value| value.split_once(';')) {
        return Some(code.to_owned());
    }
    let of_body = || body.get("code").and_then(Value::as_str).or_else(|| body.get("__type")?.as_str());
    headers.get("x-amzn-errortype").or_else(of_body).map(|code| name_of(code).to_owned())
}

/// Of `com.amazonaws.sqs#QueueDoesNotExist:http://…`, the name.
fn name_of(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.split_once('#').map_or(code, |(_, code)| code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_wherever_it_stands() {
        let query = ("x-amzn-query-error", "AWS.SimpleQueueService.NonExistentQueue;Sender");
        let kind = ("x-amzn-errortype", "aws.x#FromHeader:http://internal.example/");
        let of_query = Some("AWS.SimpleQueueService.NonExistentQueue");
        for (headers, body, expected) in [
            (&[query, kind][..], r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}"#, of_query),
            (&[query], "", of_query),
            (&[query], "<html>", None),
            (&[("x-amzn-query-error", "NoDelimiter")], r#"{"__type":"OfBody"}"#, Some("OfBody")),
            (&[kind], r#"{"__type":"OfBody"}"#, Some("FromHeader")),
            (&[], r#"{"__type":"com.amazonaws.sqs#OfBody:http://x/"}"#, Some("OfBody")),
            (&[], r#"{"code":"Code","__type":"Type"}"#, Some("Code")),
            (&[], r#"{"code":5,"__type":"Type","message":{"a":[1]}}"#, Some("Type")),
            (&[], r#"{"__type":null}"#, None),
            (&[], "[]", None),
            (&[], "", None),
            (&[], r#"{"__type":"Cut"#, None),
        ] {
            let mut map = Headers::new();
            for (name, value) in headers {
                map.insert(*name, *value);
            }
            assert_eq!(code(&map, body.as_bytes()).as_deref(), expected, "{headers:?} {body}");
        }
    }
}
