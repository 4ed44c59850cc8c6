//! Whether a Postgres answers, asked in Postgres's own words.
//!
//! A bare connect would take any program on that port for a Postgres, and a driver would make `cargo xtask` compile for
//! a minute before it says its first word. The question is one message, and the answer's first byte decides.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
const PROTOCOL_3_0: i32 = 3 << 16;
/// No answer to a start-up is longer than this; whatever claims to be is not a Postgres.
const LONGEST: usize = 64 * 1024;

/// What a server said to `user=postgres database=postgres`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Let in, no password asked.
    Welcome {
        version: String,
    },
    PasswordWanted,
    Refused(String),
    NotPostgres,
}

/// Asks the server at `address` to let user `postgres` in.
pub(super) fn ask(address: SocketAddr) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&startup_message())?;
    let answer = read_answer(&mut stream)?;
    // Goodbye, so that the server's log does not complain about us.
    let _ = stream.write_all(&[b'X', 0, 0, 0, 4]);
    Ok(answer)
}

fn startup_message() -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_be_bytes().to_vec();
    body.extend_from_slice(b"user\0postgres\0database\0postgres\0\0");
    let mut message = ((body.len() + 4) as u32).to_be_bytes().to_vec();
    message.append(&mut body);
    message
}

/// Reads messages until one decides.
fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut version = "of unknown version".to_owned();
    loop {
        let (kind, body) = match read_message(stream) {
            Ok(message) => message,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                return Ok(Answer::NotPostgres);
            }
            Err(error) => return Err(error),
        };
        match kind {
            b'R' if body != [0; 4] => return Ok(Answer::PasswordWanted),
            b'S' => {
                if let Some(value) = body.strip_prefix(b"server_version\0") {
                    version = text(value);
                }
            }
            b'E' => return Ok(Answer::Refused(error_text(&body))),
            b'Z' => return Ok(Answer::Welcome { version }),
            b'R' | b'K' | b'N' => {}
            _ => return Ok(Answer::NotPostgres),
        }
    }
}

fn read_message(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = u32::from_be_bytes(length) as usize;
    if !(4..=LONGEST).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// An ErrorResponse is a list of fields, each a code byte and a string; `M` is the message.
fn error_text(body: &[u8]) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map_or_else(|| "no reason given".to_owned(), text)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        message.extend_from_slice(body);
        message
    }

    fn answer_to(bytes: &[u8]) -> Answer {
        read_answer(&mut &*bytes).unwrap()
    }

    #[test]
    fn the_question_is_a_startup_message() {
        let sent = startup_message();
        assert_eq!(u32::from_be_bytes(sent[..4].try_into().unwrap()) as usize, sent.len());
        assert_eq!(sent[4..8], [0, 3, 0, 0]);
        assert_eq!(&sent[8..], b"user\0postgres\0database\0postgres\0\0");
    }

    #[test]
    fn let_in() {
        let sent = [
            message(b'R', &[0; 4]),
            message(b'S', b"server_encoding\0UTF8\0"),
            message(b'S', b"server_version\x0017.2\0"),
            message(b'K', &[1; 8]),
            message(b'Z', b"I"),
        ];
        assert_eq!(answer_to(&sent.concat()), Answer::Welcome { version: "17.2".into() });
    }

    #[test]
    fn asked_for_a_password() {
        assert_eq!(answer_to(&message(b'R', &[0, 0, 0, 10, b'S'])), Answer::PasswordWanted);
    }

    #[test]
    fn refused_before_and_after_the_greeting() {
        let refusal = message(b'E', b"SFATAL\0C28000\0Mno pg_hba.conf entry\0\0");
        assert_eq!(answer_to(&refusal), Answer::Refused("no pg_hba.conf entry".into()));
        let after = [message(b'R', &[0; 4]), refusal].concat();
        assert_eq!(answer_to(&after), Answer::Refused("no pg_hba.conf entry".into()));
    }

    #[test]
    fn something_else_listens_there() {
        for sent in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", b"R\0\0", &message(b'?', b"")] {
            assert_eq!(answer_to(sent), Answer::NotPostgres, "{sent:?}");
        }
    }
}
