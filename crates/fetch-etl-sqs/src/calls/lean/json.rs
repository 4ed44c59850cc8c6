//! Reading JSON as the SDK does: a name that comes twice counts the last time, unknown ones are passed over, `null` is as if missing.
//!
//! By hand, for two reasons. A message's body is a text full of escapes, of which a general parser leaves a copy in a buffer of its own
//! that nobody zeroizes; and it would read such a body twice, once to find its end. What is JSON and what is not is `serde_json`'s
//! opinion all the same: the tests hold both to one.

use std::borrow::Cow;

use fetch_etl_core::Pii;

/// It is not JSON, or not what was expected. Nothing is said of it: it could hold a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

pub(super) type Result<T> = std::result::Result<T, Unreadable>;

/// Reads a document that is one object; SQS sends none where an empty object would do.
pub(super) fn document<'a>(
    body: &'a [u8],
    field: impl FnMut(&str, &mut Reader<'a>) -> Result<()>,
) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    // Once for all of it, and what is passed over has to be text too.
    let mut reader = Reader { text: std::str::from_utf8(body).map_err(|_| Unreadable)?, at: 0 };
    if !reader.object(field)? {
        return Err(Unreadable);
    }
    reader.end()
}

/// Stands before a value of a document. Each value is to be taken, or skipped, once.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no space, which is not taken.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn take(&mut self, byte: u8) -> Result<()> {
        if self.takes(byte) { Ok(()) } else { Err(Unreadable) }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    fn takes_null(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b'n') if self.takes_word("null") => Ok(true),
            Some(b'n') | None => Err(Unreadable),
            Some(_) => Ok(false),
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(Unreadable) }
    }

    /// Takes an object, each field of which is taken by `field`; `false` for `null`.
    pub(super) fn object(&mut self, mut field: impl FnMut(&str, &mut Self) -> Result<()>) -> Result<bool> {
        if self.takes_null()? {
            return Ok(false);
        }
        self.take(b'{')?;
        if self.takes(b'}') {
            return Ok(true);
        }
        loop {
            let name = self.name()?;
            field(&name, self)?;
            if !self.takes(b',') {
                return self.take(b'}').map(|()| true);
            }
        }
    }

    /// Takes an array, each element of which is taken by `element`; `false` for `null`.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<bool> {
        if self.takes_null()? {
            return Ok(false);
        }
        self.take(b'[')?;
        if self.takes(b']') {
            return Ok(true);
        }
        loop {
            element(self)?;
            if !self.takes(b',') {
                return self.take(b']').map(|()| true);
            }
        }
    }

    /// Takes a text; `None` for `null`.
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.takes_null()? { Ok(None) } else { self.quoted()?.text().map(Some) }
    }

    /// Takes a text of which no copy is left but the one that is zeroized; `None` for `null`.
    pub(super) fn sensitive(&mut self) -> Result<Option<Pii<Vec<u8>>>> {
        if self.takes_null()? { Ok(None) } else { self.quoted()?.unescaped().map(Some) }
    }

    /// Takes `true` or `false`; `None` for `null`.
    pub(super) fn boolean(&mut self) -> Result<Option<bool>> {
        match self.takes_null()? {
            true => Ok(None),
            false if self.takes_word("true") => Ok(Some(true)),
            false if self.takes_word("false") => Ok(Some(false)),
            false => Err(Unreadable),
        }
    }

    /// Passes over a value of any kind, which has to be JSON all the same.
    pub(super) fn skip(&mut self) -> Result<()> {
        // What is open around: however deep it is, it takes a byte each.
        let mut open = Vec::new();
        loop {
            match self.peek().ok_or(Unreadable)? {
                b'{' => {
                    self.at += 1;
                    if !self.takes(b'}') {
                        open.push(b'}');
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.takes(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                b'"' => self.quoted()?.check()?,
                b'-' | b'0'..=b'9' => self.skip_number()?,
                _ if ["null", "true", "false"].iter().any(|word| self.takes_word(word)) => {}
                _ => return Err(Unreadable),
            }
            // A value has ended, and with it all that ends behind it.
            while let Some(end) = open.last().copied() {
                if self.takes(b',') {
                    if end == b'}' {
                        self.name()?;
                    }
                    break;
                }
                self.take(end)?;
                open.pop();
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    fn skip_number(&mut self) -> Result<()> {
        self.at += usize::from(self.text.as_bytes()[self.at] == b'-');
        let starts_with_zero = self.text.as_bytes().get(self.at) == Some(&b'0');
        let digits = self.digits()?;
        if starts_with_zero && digits > 1 {
            return Err(Unreadable);
        }
        if self.takes_word(".") {
            self.digits()?;
        }
        if self.takes_word("e") || self.takes_word("E") {
            let _ = self.takes_word("+") || self.takes_word("-");
            self.digits()?;
        }
        Ok(())
    }

    /// Takes digits, at least one, and says how many.
    fn digits(&mut self) -> Result<usize> {
        let digits = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        if digits > 0 { Ok(digits) } else { Err(Unreadable) }
    }

    /// Takes the name of a field, and the colon.
    fn name(&mut self) -> Result<Cow<'a, str>> {
        self.peek();
        let name = self.quoted()?.text()?;
        self.take(b':')?;
        Ok(name)
    }

    /// Takes what stands between quotes.
    fn quoted(&mut self) -> Result<Quoted<'a>> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return Err(Unreadable);
        }
        let start = self.at + 1;
        let (mut at, mut has_escapes) = (start, false);
        loop {
            at += plain(&bytes[at..]);
            match bytes.get(at) {
                Some(b'"') => break,
                // Whatever is escaped does not end it.
                Some(b'\\') => (at, has_escapes) = (at + 2, true),
                _ => return Err(Unreadable),
            }
            if at > bytes.len() {
                return Err(Unreadable);
            }
        }
        self.at = at + 1;
        // What an escape steps over is a byte of ASCII or the first one of a character: a bad escape, and told by name when it is read.
        let inner = self.text.get(start..at).ok_or(Unreadable)?;
        Ok(Quoted { inner, has_escapes })
    }
}

/// A text as it stands between its quotes.
struct Quoted<'a> {
    inner: &'a str,
    has_escapes: bool,
}

impl<'a> Quoted<'a> {
    fn text(&self) -> Result<Cow<'a, str>> {
        if !self.has_escapes {
            return Ok(Cow::Borrowed(self.inner));
        }
        let text = self.unescaped()?;
        String::from_utf8(text.expose().clone()).map(Cow::Owned).map_err(|_| Unreadable)
    }

    fn unescaped(&self) -> Result<Pii<Vec<u8>>> {
        unescape(self.inner).ok_or(Unreadable)
    }

    /// Whether it is a text at all. As `serde_json` does for what it passes over, halves of surrogate pairs are let through.
    fn check(&self) -> Result<()> {
        let mut rest = self.inner.as_bytes();
        while self.has_escapes
            && let Some(at) = rest.iter().position(|byte| *byte == b'\\')
        {
            let escape = *rest.get(at + 1).ok_or(Unreadable)?;
            rest = &rest[at + 2..];
            match escape {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => drop(unit(&mut rest).ok_or(Unreadable)?),
                _ => return Err(Unreadable),
            }
        }
        Ok(())
    }
}

/// How many bytes there are before the first one that a text cannot hold as it is: a quote, a backslash, a control character. Eight at
/// a time.
pub(super) fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let is_plain = |byte: &u8| !matches!(byte, b'"' | b'\\' | 0..0x20);
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let eight = u64::from_le_bytes(*eight);
        // The highest bit of each byte that is below `bound`. A borrow can only mark a byte behind one that is marked rightly.
        let below = |bytes: u64, bound: u64| bytes.wrapping_sub(ONES * bound) & !bytes;
        let found = below(eight, 0x20)
            | below(eight ^ (ONES * u64::from(b'"')), 1)
            | below(eight ^ (ONES * u64::from(b'\\')), 1);
        let found = found & (ONES * 0x80);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|byte| is_plain(byte)).count()
}

/// Takes the escapes out of what stands between quotes; `None` for half a surrogate pair, which is no character.
fn unescape(text: &str) -> Option<Pii<Vec<u8>>> {
    // It only gets shorter, so this is never moved.
    let mut out = Vec::with_capacity(text.len());
    let done = unescape_into(text.as_bytes(), &mut out);
    // What was read of a bad one is zeroized, too.
    let out = Pii::new(out);
    done.map(|()| out)
}

fn unescape_into(mut rest: &[u8], out: &mut Vec<u8>) -> Option<()> {
    loop {
        let (before, behind) = rest.split_at(plain(rest));
        out.extend_from_slice(before);
        let [b'\\', escape, after @ ..] = behind else {
            return behind.is_empty().then_some(());
        };
        rest = after;
        let byte = match escape {
            b'"' | b'\\' | b'/' => *escape,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let character = character(&mut rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(byte);
    }
}

/// Reads the character of a `\u`, and of the second one that some need.
fn character(rest: &mut &[u8]) -> Option<char> {
    let first = unit(rest)?;
    let code = if (0xD800..0xDC00).contains(&first) {
        *rest = rest.strip_prefix(b"\\u")?;
        let second = unit(rest)?.checked_sub(0xDC00).filter(|second| *second < 0x400)?;
        0x1_0000 + ((first - 0xD800) << 10) + second
    } else {
        first
    };
    char::from_u32(code)
}

fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(4)?;
    *rest = after;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests;
