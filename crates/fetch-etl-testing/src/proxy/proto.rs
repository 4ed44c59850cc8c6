//! Message boundaries of the frontend/backend protocol, version 3, and the few messages that matter here.
//!
//! A [`Framer`] takes the bytes as they come and gives them all back, cut at the boundaries: a [`Head`] for the
//! beginning of each message, then its rest as it arrives. Only heads are kept in memory, so that a message of a
//! gigabyte costs no more than a small one. What to do about a message is decided elsewhere.

use std::error::Error;
use std::fmt;

/// As much of a message as can be looked at. Statement names, portal names and the texts of sensible statements fit.
const HEAD_LIMIT: u64 = 64 * 1024;
/// Postgres refuses longer opening packets (`MAX_STARTUP_PACKET_LENGTH`).
const OPENING_LIMIT: u64 = 10_000;
/// The type byte and the length.
const TYPED_HEADER: usize = 5;
/// The length and the code of a message without a type byte.
const OPENING_HEADER: usize = 8;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// The bytes are not the protocol that we know; says nothing of their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProtocolError {
    /// A length that no message can have.
    Length,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => f.write_str("a message has an impossible length"),
        }
    }
}

impl Error for ProtocolError {}

/// A part of the stream. All parts, one after the other, are the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The beginning of a message, or all of it.
    Head(Head<'a>),
    /// More of the message whose head came last.
    Rest(&'a [u8]),
}

/// The beginning of a message: its header, and so much of its body as may be of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One of the messages without a type byte with which a client opens; the code says which.
    Opening(u32),
    Typed(u8),
}

/// What a client says, as far as it matters here. Anything malformed is `Other`: the server will complain about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FromClient<'a> {
    EncryptionRequest,
    CancelRequest,
    Startup,
    Query { sql: &'a [u8] },
    Parse { statement: &'a [u8], sql: &'a [u8] },
    Bind { portal: &'a [u8], statement: &'a [u8] },
    Execute { portal: &'a [u8] },
    CloseStatement { name: &'a [u8] },
    ClosePortal { name: &'a [u8] },
    Sync,
    FunctionCall,
    Other,
}

/// What a server says, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FromServer<'a> {
    CommandComplete {
        tag: &'a [u8],
    },
    ErrorResponse,
    /// The server waits for data from the client.
    CopyIn,
    ReadyForQuery {
        status: u8,
    },
    Other,
}

impl<'a> Head<'a> {
    /// The bytes as they came.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The meaning of a message that a client sent.
    pub(super) fn client_message(&self) -> FromClient<'a> {
        let mut body = self.body();
        self.parse_client(&mut body).unwrap_or(FromClient::Other)
    }

    /// The meaning of a message that a server sent.
    pub(super) fn server_message(&self) -> FromServer<'a> {
        let body = self.body();
        match self.kind {
            Kind::Typed(b'C') => FromServer::CommandComplete { tag: until_nul(body) },
            Kind::Typed(b'E') => FromServer::ErrorResponse,
            Kind::Typed(b'G' | b'W') => FromServer::CopyIn,
            Kind::Typed(b'Z') => match body {
                [status] => FromServer::ReadyForQuery { status: *status },
                _ => FromServer::Other,
            },
            Kind::Typed(_) | Kind::Opening(_) => FromServer::Other,
        }
    }

    fn parse_client(&self, body: &mut &'a [u8]) -> Option<FromClient<'a>> {
        Some(match self.kind {
            Kind::Opening(SSL_REQUEST | GSSENC_REQUEST) => FromClient::EncryptionRequest,
            Kind::Opening(CANCEL_REQUEST) => FromClient::CancelRequest,
            Kind::Opening(_) => FromClient::Startup,
            Kind::Typed(b'Q') => FromClient::Query { sql: until_nul(body) },
            Kind::Typed(b'P') => FromClient::Parse { statement: name(body)?, sql: until_nul(body) },
            Kind::Typed(b'B') => FromClient::Bind { portal: name(body)?, statement: name(body)? },
            Kind::Typed(b'E') => FromClient::Execute { portal: name(body)? },
            Kind::Typed(b'C') => match body.split_off_first()? {
                b'S' => FromClient::CloseStatement { name: name(body)? },
                b'P' => FromClient::ClosePortal { name: name(body)? },
                _ => return None,
            },
            Kind::Typed(b'S') => FromClient::Sync,
            Kind::Typed(b'F') => FromClient::FunctionCall,
            Kind::Typed(_) => return None,
        })
    }

    fn body(&self) -> &'a [u8] {
        let header = match self.kind {
            Kind::Opening(_) => OPENING_HEADER,
            Kind::Typed(_) => TYPED_HEADER,
        };
        self.bytes.get(header..).unwrap_or_default()
    }
}

/// Takes a name with its NUL off the body; `None` if it does not end within the head.
fn name<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = body.iter().position(|&byte| byte == 0)?;
    let name = body.split_off(..end)?;
    body.split_off_first()?;
    Some(name)
}

/// A text up to its NUL, or what the head holds of it.
fn until_nul(body: &[u8]) -> &[u8] {
    body.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Cuts a stream at its message boundaries.
#[derive(Debug)]
pub(super) struct Framer {
    phase: Phase,
    /// The head that is being gathered, or that was given out last.
    head: Vec<u8>,
    /// The head was given out, `rest` bytes of its message are to come.
    given_out: bool,
    rest: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Typed,
}

/// What a complete header says.
struct Header {
    kind: Kind,
    total: u64,
    head: u64,
}

impl Framer {
    /// For what a client sends, from its first byte on.
    pub(super) fn of_client() -> Self {
        Self::new(Phase::Opening)
    }

    /// For what a server sends, once it was sent a startup message.
    pub(super) fn of_server() -> Self {
        Self::new(Phase::Typed)
    }

    fn new(phase: Phase) -> Self {
        Self { phase, head: Vec::new(), given_out: false, rest: 0 }
    }

    /// Takes bytes off `input` and gives the next piece, or `None` once all were taken and more are needed.
    pub(super) fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Piece<'a>>, ProtocolError> {
        if self.rest > 0 {
            return Ok(self.rest_of(input));
        }
        if self.given_out {
            self.head.clear();
            self.given_out = false;
        }
        let header_len = match self.phase {
            Phase::Opening => OPENING_HEADER,
            Phase::Typed => TYPED_HEADER,
        };
        if !self.gather(input, header_len as u64) {
            return Ok(None);
        }
        let Header { kind, total, head } = self.header()?;
        if !self.gather(input, head) {
            return Ok(None);
        }
        self.given_out = true;
        self.rest = total.saturating_sub(head);
        if !matches!(kind, Kind::Opening(SSL_REQUEST | GSSENC_REQUEST)) {
            self.phase = Phase::Typed;
        }
        Ok(Some(Piece::Head(Head { kind, bytes: &self.head })))
    }

    fn rest_of<'a>(&mut self, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let bytes = take(input, self.rest);
        self.rest = self.rest.saturating_sub(bytes.len() as u64);
        (!bytes.is_empty()).then_some(Piece::Rest(bytes))
    }

    /// Brings the head to `wanted` bytes; false if the input does not have them.
    fn gather(&mut self, input: &mut &[u8], wanted: u64) -> bool {
        let missing = wanted.saturating_sub(self.head.len() as u64);
        self.head.extend_from_slice(take(input, missing));
        self.head.len() as u64 >= wanted
    }

    fn header(&self) -> Result<Header, ProtocolError> {
        match (self.phase, self.head.as_slice()) {
            (Phase::Opening, [l1, l2, l3, l4, c1, c2, c3, c4, ..]) => {
                let total = u64::from(u32::from_be_bytes([*l1, *l2, *l3, *l4]));
                if !(OPENING_HEADER as u64..=OPENING_LIMIT).contains(&total) {
                    return Err(ProtocolError::Length);
                }
                Ok(Header {
                    kind: Kind::Opening(u32::from_be_bytes([*c1, *c2, *c3, *c4])),
                    total,
                    head: total,
                })
            }
            (Phase::Typed, [tag, l1, l2, l3, l4, ..]) => {
                let length = i32::from_be_bytes([*l1, *l2, *l3, *l4]);
                // The length counts itself, but not the type byte.
                let length = u64::try_from(length).ok().filter(|length| *length >= 4);
                let total = 1 + length.ok_or(ProtocolError::Length)?;
                Ok(Header { kind: Kind::Typed(*tag), total, head: total.min(interesting(*tag)) })
            }
            // `gather` has seen to it that the header is there.
            _ => Err(ProtocolError::Length),
        }
    }
}

/// How much of a message of this type to look at; data are let through without a copy.
fn interesting(tag: u8) -> u64 {
    match tag {
        b'Q' | b'P' | b'B' | b'E' | b'C' | b'Z' => HEAD_LIMIT,
        _ => TYPED_HEADER as u64,
    }
}

/// Takes up to `count` bytes off the input.
fn take<'a>(input: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(input.len());
    input.split_off(..count).unwrap_or_default()
}

#[cfg(test)]
mod tests;
