//! Texts for a terminal.

/// A text of somebody else, such as a producer's key, so that it cannot steer the terminal.
pub(crate) fn harmless(text: &str) -> String {
    let show = |c: char| if is_harmless(c) { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(show).collect()
}

/// Neither a control character nor one that reorders the text around it.
fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// "1 message", "1,234 messages".
pub(crate) fn messages(count: u64) -> String {
    counted(count, "message", "messages")
}

/// "1 row", "1,234 rows".
pub(crate) fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{} {}", etl_worker::report::grouped(count), if count == 1 { one } else { several })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_spelled_out() {
        assert_eq!(harmless("order-17 é 漢"), "order-17 é 漢");
        assert_eq!(harmless("a\x1b[2J\nb\u{202e}c\u{9b}"), "a\\u{1b}[2J\\u{a}b\\u{202e}c\\u{9b}");
        for mark in ['\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{2066}', '\u{2069}'] {
            assert!(harmless(&mark.to_string()).is_ascii(), "{mark:?}");
        }
    }

    #[test]
    fn counts_agree_with_their_noun() {
        assert_eq!(
            (messages(1), messages(0), messages(1_234)),
            ("1 message".into(), "0 messages".into(), "1,234 messages".into())
        );
    }
}
