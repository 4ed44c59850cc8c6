//! What may be said of an answer that is an error: what AWS says in words stays out of our texts, since it may quote what was sent.

const MAX_BYTES: usize = 64;

/// An error code, if it is one: a name. Anything else that stands in its place may be anything.
pub fn error_code(text: &str) -> Option<&str> {
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.len() <= MAX_BYTES
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    is_name.then_some(text)
}

/// A request id, if it is one: a hexadecimal number, mostly a UUID.
pub fn request_id(text: &str) -> Option<&str> {
    let is_id =
        (8..=MAX_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    is_id.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_none_stays_out() {
        assert_eq!(error_code("KMS.DisabledException"), Some("KMS.DisabledException"));
        assert_eq!(request_id("00000000-feed"), Some("00000000-feed"));
        let long = "a".repeat(65);
        for text in ["", "1st", "203.0.113.7 is wrong", "a-b", "ä", &long] {
            assert_eq!(error_code(text), None, "{text}");
        }
        for text in ["", "feed", "203.0.113.7", "not-hexadecimal", &long] {
            assert_eq!(request_id(text), None, "{text}");
        }
    }
}
