//! A message as it was sent: what stays the same from the first send to the last delivery.

use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use md5::{Digest, Md5};

use crate::attribute::Attribute;
use crate::clock::Millis;
use crate::error::{ErrorKind, SqsError};

/// A version 4 UUID, as SQS gives to each message.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MessageId(u128);

impl MessageId {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        const VERSION_4: u128 = 4 << 76;
        const RFC_VARIANT: u128 = 2 << 62;
        let bits = rng.u128(..) & !(0xf << 76) & !(3 << 62);
        Self(bits | VERSION_4 | RFC_VARIANT)
    }

    /// The usual text of a UUID: 8-4-4-4-12 lower-case hex digits.
    pub(crate) fn text(self) -> [u8; 36] {
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut shift = 128;
        for (position, character) in text.iter_mut().enumerate() {
            if !HYPHENS.contains(&position) {
                shift -= 4;
                *character = DIGITS[(self.0 >> shift) as usize & 0xf];
            }
        }
        text
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

/// A message that passed all checks and is ready to be put into a queue. Its digests are computed here, before
/// any queue is locked.
pub(crate) struct Draft {
    pub(crate) body: Box<str>,
    pub(crate) body_md5: [u8; 16],
    pub(crate) extra: Option<Box<Extra>>,
    /// What the message counts against the size limit: body and attributes.
    pub(crate) bytes: usize,
    /// `None`: the queue's own.
    pub(crate) delay_s: Option<u32>,
}

impl Draft {
    pub(crate) fn new(body: impl Into<Box<str>>) -> Self {
        let body = body.into();
        let body_md5 = Md5::digest(body.as_bytes()).into();
        Self { bytes: body.len(), body, body_md5, extra: None, delay_s: None }
    }

    /// Adds attributes, which have to be of different names.
    pub(crate) fn with_attributes(mut self, mut attributes: Vec<Attribute>) -> Self {
        if !attributes.is_empty() {
            attributes.sort_by(|a, b| a.name.cmp(&b.name));
            self.bytes += attributes.iter().map(Attribute::bytes).sum::<usize>();
            self.extra = Some(Box::new(Extra { attributes, ..Extra::default() }));
        }
        self
    }

    pub(crate) fn with_id(self, id: MessageId) -> Arc<Content> {
        Arc::new(Content { id, body_md5: self.body_md5, body: self.body, extra: self.extra })
    }
}

/// What every delivery of a message has in common. Shared, so that a receive copies nothing while the queue is
/// locked.
pub(crate) struct Content {
    pub(crate) id: MessageId,
    pub(crate) body_md5: [u8; 16],
    pub(crate) body: Box<str>,
    /// Apart from the rest because few messages have any, and a queue may hold millions.
    pub(crate) extra: Option<Box<Extra>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the body or the attributes: they are personal data.
        f.debug_struct("Content")
            .field("id", &self.id)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The optional parts of a message.
#[derive(Default)]
pub(crate) struct Extra {
    /// Sorted by name, the order in which the digest takes them.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) trace_header: Option<Box<str>>,
    pub(crate) group_id: Option<Box<str>>,
}

impl Extra {
    pub(crate) fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.trace_header.is_none() && self.group_id.is_none()
    }
}

/// One delivery of a message: what a receive hands out.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) content: Arc<Content>,
    pub(crate) receipt: crate::receipt::Receipt,
    pub(crate) sent_at: Millis,
    pub(crate) first_received_at: Millis,
    pub(crate) receive_count: u32,
    /// The queue that a dead-letter queue got the message from, by its ARN.
    pub(crate) dead_letter_source: Option<Arc<str>>,
}

/// Refuses what SQS cannot carry. The allowed characters are those of XML 1.0.
pub(crate) fn check_text(text: &str) -> Result<(), SqsError> {
    // Bytes first: nearly every body is plain ASCII, and the multi-byte characters that are not allowed
    // (U+FFFE and U+FFFF) both begin with the byte EF.
    let suspicious = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0xef;
    if !text.bytes().any(suspicious) {
        return Ok(());
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r') || c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}';
    match text.chars().find(|&c| !allowed(c)) {
        None => Ok(()),
        Some(bad) => Err(SqsError::new(
            ErrorKind::InvalidMessageContents,
            format!(
                "Invalid binary character '#x{:X}' was found in the message body, the set of allowed characters \
                 is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF].",
                u32::from(bad)
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_4_uuids_and_differ() {
        let mut rng = Rng::with_seed(7);
        let texts: Vec<String> = (0..100)
            .map(|_| String::from_utf8(MessageId::random(&mut rng).text().to_vec()).unwrap())
            .collect();
        for text in &texts {
            assert_eq!(text.len(), 36);
            assert_eq!(text.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert_eq!(text.as_bytes()[14], b'4', "version of {text}");
            assert!(b"89ab".contains(&text.as_bytes()[19]), "variant of {text}");
        }
        assert_eq!(texts.iter().collect::<std::collections::HashSet<_>>().len(), 100);
    }

    #[test]
    fn the_text_of_an_id_is_its_bits_in_order() {
        let id = MessageId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(&id.text(), b"01234567-89ab-cdef-0123-456789abcdef");
    }

    #[test]
    fn exactly_the_characters_of_xml_pass() {
        for allowed in
            ["\t\n\r", " ~", "\u{7f}\u{85}", "\u{d7ff}\u{e000}\u{fffd}", "\u{ff01}", "\u{10000}\u{10ffff}"]
        {
            assert_eq!(check_text(allowed), Ok(()), "{allowed:?}");
        }
        for refused in ["\0", "a\u{1}", "\u{b}", "\u{c}", "\u{1f}", "\u{fffe}", "é\u{ffff}"] {
            assert_eq!(
                check_text(refused).map_err(|e| e.kind),
                Err(ErrorKind::InvalidMessageContents),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn debug_shows_no_body() {
        let content = Draft::new("secret-canary").with_id(MessageId(1));
        assert!(!format!("{content:?}").contains("secret-canary"));
    }
}
