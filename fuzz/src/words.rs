//! Whether a text that was printed can hold anything of a message.

/// Fails unless a printed text is made of known words, of small numbers and of punctuation.
///
/// Searching it for the message's own values would find `id` of `{"ip":"id"}` in `MessageKey(id-1)`, and would miss a value
/// that was cut or escaped. The other way round nothing is missed: whatever is not ours to say is found.
pub(crate) fn assert_says_only(known: &[&str], largest_number: u64, shown: &str) {
    for word in shown.split(|char: char| char.is_ascii() && !char.is_ascii_alphanumeric() && char != '_') {
        let is_small = || word.parse::<u64>().is_ok_and(|number| number <= largest_number);
        assert!(
            word.is_empty() || known.contains(&word) || is_small(),
            "{word:?} was printed, which is no word of ours: {shown}"
        );
    }
    let is_plain = |char: char| char.is_ascii_graphic() || char == ' ' || char == '\n';
    assert!(shown.chars().all(is_plain), "control or other characters were printed: {shown:?}");
}

#[cfg(test)]
mod tests {
    use super::assert_says_only;

    fn says_only(shown: &str) -> bool {
        std::panic::catch_unwind(|| assert_says_only(&["Reject", "ip", "length"], 40, shown)).is_ok()
    }

    #[test]
    fn whatever_is_not_ours_is_found() {
        assert!(says_only("Reject { ip, length: 40 }\n"));
        for leak in [
            "Reject { ip: \"secret\" }",
            "Reject { ip: 203.0.113.7 }",
            "Reject { length: 593475928 }",
            "Reject { ip: \"é\" }",
            "Reject\u{1b}[2J",
            "ips",
        ] {
            assert!(!says_only(leak), "{leak:?}");
        }
    }
}
