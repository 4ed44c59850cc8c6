//! As much of SQL as it takes to know where a transaction begins and ends, and what writes.

use std::fmt;
use std::sync::Arc;

/// What a statement does to the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Begin,
    Commit,
    Rollback,
    Other,
}

/// Says which statements are the writes whose commits count.
///
/// Everything else, such as pings and the queries of drivers about the catalog, passes without faults.
#[derive(Clone)]
pub struct Writes(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl Writes {
    /// Statements that insert, update, delete, merge or copy, and that contain this text in upper or lower case.
    pub fn containing(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        Self::when(move |statement| {
            let statement = statement.to_ascii_lowercase();
            let mut words = statement.split(|c: char| !is_of_word(c));
            statement.contains(&text)
                && words.any(|word| matches!(word, "insert" | "update" | "delete" | "merge" | "copy"))
        })
    }

    /// Statements of which this is true. It sees one statement at a time, at most its first 64 KiB.
    pub fn when(is_write: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_write))
    }

    pub(super) fn matches(&self, statement: &[u8]) -> bool {
        (self.0)(&String::from_utf8_lossy(statement))
    }
}

impl Default for Writes {
    /// What our sinks write: every batch goes through the ledger.
    fn default() -> Self {
        Self::containing("etl.ledger")
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writes(..)")
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// The statements of a text, without those that are empty or nothing but comments.
pub(super) fn statements(sql: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = sql;
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let mut end = 0;
        while left.get(end).is_some_and(|byte| *byte != b';') {
            end += token(left, end);
        }
        let end = end.min(left.len());
        let (statement, after) = left.split_at(end);
        left = after.get(1..).unwrap_or_default();
        Some(statement)
    })
    .filter(|statement| !is_blank(statement))
}

/// What this one statement does to the transaction.
pub(super) fn verb(statement: &[u8]) -> Verb {
    let words = first_words(statement);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Verb::Begin,
        // Two-phase commits end a transaction that is not this session's.
        ["COMMIT" | "ROLLBACK", "PREPARED", ..] => Verb::Other,
        ["COMMIT" | "END", ..] => Verb::Commit,
        // Back to a savepoint.
        ["ROLLBACK" | "ABORT", "TO", ..] | ["ROLLBACK" | "ABORT", "WORK" | "TRANSACTION", "TO", ..] => {
            Verb::Other
        }
        ["ROLLBACK" | "ABORT", ..] => Verb::Rollback,
        _ => Verb::Other,
    }
}

/// The first three words, in upper case.
fn first_words(statement: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut at = 0;
    while words.len() < 3 && at < statement.len() {
        let length = statement.get(at..).unwrap_or_default().iter();
        let length = length.take_while(|byte| byte.is_ascii_alphabetic()).count();
        if length == 0 {
            if !is_blank_at(statement, at) {
                break;
            }
            at += token(statement, at);
        } else {
            let word = statement.get(at..at + length).unwrap_or_default();
            words.push(String::from_utf8_lossy(word).to_ascii_uppercase());
            at += length;
        }
    }
    words
}

fn is_blank(statement: &[u8]) -> bool {
    let mut at = 0;
    while at < statement.len() {
        if !is_blank_at(statement, at) {
            return false;
        }
        at += token(statement, at);
    }
    true
}

/// Whether white space or a comment begins here.
fn is_blank_at(sql: &[u8], at: usize) -> bool {
    match sql.get(at..).unwrap_or_default() {
        [b'-', b'-', ..] | [b'/', b'*', ..] => true,
        [byte, ..] => byte.is_ascii_whitespace() || *byte == 0x0b,
        [] => true,
    }
}

/// The length, never 0, of what begins here: a whole quotation, comment or word, or else one byte.
fn token(sql: &[u8], at: usize) -> usize {
    let text = sql.get(at..).unwrap_or_default();
    match text {
        [b'\'', ..] => quotation(text, b'\'', false),
        [b'"', ..] => quotation(text, b'"', false),
        [b'E' | b'e', b'\'', ..] => 1 + quotation(text.get(1..).unwrap_or_default(), b'\'', true),
        [b'-', b'-', ..] => text.iter().take_while(|byte| **byte != b'\n').count(),
        [b'/', b'*', ..] => block_comment(text),
        [b'$', ..] => dollar_quotation(text),
        // A word is one token, so that the `$` or the `e'` within it begins nothing.
        [byte, ..] if is_of_word(char::from(*byte)) => {
            text.iter().take_while(|byte| is_of_word(char::from(**byte))).count()
        }
        _ => 1,
    }
}

/// The length of a text in quotes. A doubled quote looks like the end and the next beginning, which comes to the same.
fn quotation(text: &[u8], quote: u8, backslash_escapes: bool) -> usize {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if backslash_escapes && *byte == b'\\' {
            escaped = true;
        } else if *byte == quote {
            return index + 1;
        }
    }
    text.len()
}

/// The length of a comment in `/* */`, which may hold others.
fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(left) = text.get(at..).filter(|left| !left.is_empty()) {
        match left {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of `$tag$ … $tag$`, or 1 if it is none.
fn dollar_quotation(text: &[u8]) -> usize {
    let tag = text.iter().skip(1).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    if text.get(1).is_some_and(u8::is_ascii_digit) || text.get(1 + tag) != Some(&b'$') {
        return 1;
    }
    let (fence, inside) = text.split_at(tag + 2);
    match inside.windows(fence.len()).position(|window| window == fence) {
        Some(end) => fence.len() + end + fence.len(),
        None => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(sql: &str) -> Vec<&str> {
        statements(sql.as_bytes()).map(|statement| std::str::from_utf8(statement).unwrap().trim()).collect()
    }

    #[test]
    fn a_text_is_split_where_postgres_splits_it() {
        for (sql, expected) in [
            ("", &[][..]),
            (" ; ;-- nothing;\n/* ; */;", &[]),
            ("BEGIN; INSERT;COMMIT", &["BEGIN", "INSERT", "COMMIT"]),
            ("SELECT ';''; COMMIT'; x", &["SELECT ';''; COMMIT'", "x"]),
            ("SELECT \";\"; x", &["SELECT \";\"", "x"]),
            (r"SELECT e'\'; COMMIT'; x", &[r"SELECT e'\'; COMMIT'", "x"]),
            (r"SELECT '\'; x", &[r"SELECT '\'", "x"]),
            (r"SELECT type'\'; x", &[r"SELECT type'\'", "x"]),
            ("DO $$ a; b $$; x", &["DO $$ a; b $$", "x"]),
            ("DO $a$ $b$; $$ $a$; x", &["DO $a$ $b$; $$ $a$", "x"]),
            ("SELECT $1; x", &["SELECT $1", "x"]),
            ("SELECT a$b; c$b", &["SELECT a$b", "c$b"]),
            ("/* a /* ; */ ; */ x; y", &["/* a /* ; */ ; */ x", "y"]),
            ("x -- ;\n; y", &["x -- ;", "y"]),
            ("SELECT 'open; x", &["SELECT 'open; x"]),
            ("/* open; x", &[]),
        ] {
            assert_eq!(split(sql), expected, "{sql}");
        }
    }

    #[test]
    fn verbs_are_those_of_the_transaction() {
        for (expected, texts) in [
            (
                Verb::Begin,
                &["BEGIN", "begin isolation level serializable", "/* x */ START\n TRANSACTION"][..],
            ),
            (Verb::Commit, &["COMMIT", " commit work ", "END", "-- x\nEND TRANSACTION", "COMMIT AND CHAIN"]),
            (Verb::Rollback, &["ROLLBACK", "ABORT", "rollback work", "ROLLBACK AND NO CHAIN"]),
            (
                Verb::Other,
                &[
                    "",
                    "INSERT INTO commit VALUES (1)",
                    "COMMIT PREPARED 'x'",
                    "ROLLBACK PREPARED 'x'",
                    "ROLLBACK TO SAVEPOINT a",
                    "rollback work to a",
                    "SAVEPOINT a",
                    "RELEASE a",
                    "'COMMIT'",
                    "(COMMIT",
                    "COMMITTED",
                ],
            ),
        ] {
            for text in texts {
                assert_eq!(verb(text.as_bytes()), expected, "{text}");
            }
        }
    }

    #[test]
    fn writes_are_those_that_write_to_what_is_named() {
        let writes = Writes::default();
        for (sql, expected) in [
            ("INSERT INTO etl.ledger VALUES (1)", true),
            ("with new as (insert into ETL.Ledger select 1 returning 1) select 1", true),
            ("COPY etl.ledger FROM STDIN", true),
            ("SELECT count(*) FROM etl.ledger", false),
            ("CREATE TABLE etl.ledger (inserted_at date)", false),
            ("INSERT INTO other VALUES (1)", false),
            ("SELECT 1", false),
        ] {
            assert_eq!(writes.matches(sql.as_bytes()), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_without_panic(sql in "[-a-e;'\"$/*\\\\ \n1é]{0,60}") {
            let found: usize = statements(sql.as_bytes()).map(|statement| {
                let _ = verb(statement);
                statement.len()
            }).sum();
            prop_assert!(found <= sql.len());
        }
    }
}
