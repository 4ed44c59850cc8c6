use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A message as the framer shows it, with its rest in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Message {
    kind: Kind,
    head: Vec<u8>,
    rest: Vec<u8>,
}

/// The messages in a stream that arrives in these chunks, and the error that ends it.
fn messages<'a>(
    mut framer: Framer,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<ProtocolError>) {
    let mut found: Vec<Message> = Vec::new();
    for mut chunk in chunks {
        loop {
            match framer.next(&mut chunk) {
                Ok(Some(Piece::Head(head))) => {
                    let (kind, head) = (head.kind, head.bytes.to_vec());
                    found.push(Message { kind, head, rest: Vec::new() });
                }
                Ok(Some(Piece::Rest(bytes))) => found.last_mut().unwrap().rest.extend_from_slice(bytes),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
        assert!(chunk.is_empty(), "all of the input is taken before more is asked for");
    }
    (found, None)
}

fn opening(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(OPENING_HEADER + body.len()).unwrap();
    [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

fn typed(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + body.len()).unwrap();
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn check_client(tag: u8, body: &[u8], check: impl FnOnce(FromClient<'_>)) {
    let bytes = typed(tag, body);
    let mut framer = Framer::new(Phase::Typed);
    let Ok(Some(Piece::Head(head))) = framer.next(&mut bytes.as_slice()) else { panic!("no head") };
    check(head.client_message());
}

fn check_server(tag: u8, body: &[u8], check: impl FnOnce(FromServer<'_>)) {
    let bytes = typed(tag, body);
    let mut framer = Framer::of_server();
    let Ok(Some(Piece::Head(head))) = framer.next(&mut bytes.as_slice()) else { panic!("no head") };
    check(head.server_message());
}

#[test]
fn client_messages_are_understood() {
    let cases: &[(u8, &[u8], FromClient<'_>)] = &[
        (b'Q', b"COMMIT\0", FromClient::Query { sql: b"COMMIT" }),
        (b'P', b"s1\0SELECT 1\0\0\0", FromClient::Parse { statement: b"s1", sql: b"SELECT 1" }),
        (b'B', b"p\0s1\0\0\0\0\0", FromClient::Bind { portal: b"p", statement: b"s1" }),
        (b'B', b"\0\0", FromClient::Bind { portal: b"", statement: b"" }),
        (b'E', b"p\0\0\0\0\0", FromClient::Execute { portal: b"p" }),
        (b'C', b"Ss1\0", FromClient::CloseStatement { name: b"s1" }),
        (b'C', b"P\0", FromClient::ClosePortal { name: b"" }),
        (b'S', b"", FromClient::Sync),
        (b'F', b"\0\0\0\x01", FromClient::FunctionCall),
        (b'd', b"data", FromClient::Other),
        // Malformed: no NUL, no name, an unknown thing to close.
        (b'P', b"s1", FromClient::Other),
        (b'B', b"p\0s1", FromClient::Other),
        (b'E', b"", FromClient::Other),
        (b'C', b"", FromClient::Other),
        (b'C', b"X\0", FromClient::Other),
    ];
    for (tag, body, expected) in cases {
        check_client(*tag, body, |found| assert_eq!(found, *expected));
    }
}

#[test]
fn server_messages_are_understood() {
    let cases: &[(u8, &[u8], FromServer<'_>)] = &[
        (b'C', b"INSERT 0 3\0", FromServer::CommandComplete { tag: b"INSERT 0 3" }),
        (b'E', b"SERROR\0\0", FromServer::ErrorResponse),
        (b'G', b"\0\0\0", FromServer::CopyIn),
        (b'W', b"\0\0\0", FromServer::CopyIn),
        (b'Z', b"I", FromServer::ReadyForQuery { status: b'I' }),
        (b'Z', b"", FromServer::Other),
        (b'D', b"\0\0", FromServer::Other),
    ];
    for (tag, body, expected) in cases {
        check_server(*tag, body, |found| assert_eq!(found, *expected));
    }
}

#[test]
fn a_session_opens_with_messages_that_have_no_type() {
    let stream = [
        opening(GSSENC_REQUEST, b""),
        opening(SSL_REQUEST, b""),
        opening(196_608, b"user\0me\0\0"),
        typed(b'S', b""),
    ]
    .concat();
    let mut input = stream.as_slice();
    let mut framer = Framer::of_client();
    for expected in
        [FromClient::EncryptionRequest, FromClient::EncryptionRequest, FromClient::Startup, FromClient::Sync]
    {
        let Ok(Some(Piece::Head(head))) = framer.next(&mut input) else { panic!("no head") };
        assert_eq!(head.client_message(), expected);
    }
    let cancel = opening(CANCEL_REQUEST, &[0; 8]);
    let mut framer = Framer::of_client();
    let Ok(Some(Piece::Head(head))) = framer.next(&mut cancel.as_slice()) else { panic!("no head") };
    assert_eq!(head.client_message(), FromClient::CancelRequest);
}

#[test]
fn a_long_message_is_let_through_in_pieces() {
    let long = usize::try_from(HEAD_LIMIT).unwrap() * 40;
    let stream = typed(b'B', &vec![b'x'; long]);
    let mut framer = Framer::new(Phase::Typed);
    let mut seen = 0;
    for mut chunk in stream.chunks(1000) {
        while let Some(piece) = framer.next(&mut chunk).unwrap() {
            seen += match piece {
                Piece::Head(head) => head.bytes.len(),
                Piece::Rest(bytes) => bytes.len(),
            };
        }
        assert!(framer.head.len() as u64 <= HEAD_LIMIT);
    }
    assert_eq!(seen, stream.len());
    assert!(framer.head.capacity() as u64 <= 2 * HEAD_LIMIT);
}

#[test]
fn impossible_lengths_are_refused() {
    for (framer, bytes) in [
        (Framer::of_client(), [0, 0, 0, 7, 0, 3, 0, 0]),
        (Framer::of_client(), [0, 0, 0x27, 0x11, 0, 3, 0, 0]),
        // The beginning of a TLS handshake without an SSLRequest.
        (Framer::of_client(), [0x16, 3, 1, 2, 0, 1, 0, 1]),
        (Framer::of_server(), [b'Z', 0, 0, 0, 3, 0, 0, 0]),
        (Framer::of_server(), [b'Z', 0x80, 0, 0, 4, 0, 0, 0]),
    ] {
        let (found, error) = messages(framer, [&bytes[..]]);
        assert_eq!((found.len(), error), (0, Some(ProtocolError::Length)));
    }
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let long = usize::try_from(HEAD_LIMIT).unwrap();
    prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => vec(Just(b'x'), long - 20..long + 20)]
}

/// Chunks of these sizes, the last one of what is left.
fn split<'a>(stream: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut left = stream;
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().copied().unwrap_or(usize::MAX).min(left.len());
        let chunk = left.split_off(..size)?;
        (!chunk.is_empty()).then_some(chunk)
    })
}

proptest! {
    #[test]
    fn any_split_of_the_stream_gives_the_same_messages(
        encryption in vec(prop_oneof![Just(SSL_REQUEST), Just(GSSENC_REQUEST)], 0..3),
        parameters in vec(any::<u8>(), 0..60),
        sent in vec((any::<u8>(), bodies()), 0..8),
        sizes in vec(1_usize..3000, 1..20),
    ) {
        let mut stream: Vec<u8> = encryption.iter().flat_map(|code| opening(*code, b"")).collect();
        stream.extend(opening(196_608, &parameters));
        for (tag, body) in &sent {
            stream.extend(typed(*tag, body));
        }

        let (whole, error) = messages(Framer::of_client(), [stream.as_slice()]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(whole.len(), encryption.len() + 1 + sent.len());
        for (message, (tag, body)) in whole.iter().skip(encryption.len() + 1).zip(&sent) {
            prop_assert_eq!(message.kind, Kind::Typed(*tag));
            prop_assert_eq!([&message.head[..], &message.rest].concat(), typed(*tag, body));
        }
        prop_assert_eq!(&messages(Framer::of_client(), split(&stream, &sizes)).0, &whole);
        prop_assert_eq!(&messages(Framer::of_client(), split(&stream, &[1])).0, &whole);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_change(
        bytes in vec(any::<u8>(), 0..2000),
        of_client in any::<bool>(),
        sizes in vec(1_usize..64, 1..10),
    ) {
        let framer = if of_client { Framer::of_client() } else { Framer::of_server() };
        let (found, _) = messages(framer, split(&bytes, &sizes));
        let seen: Vec<u8> = found.iter().flat_map(|message| [&message.head[..], &message.rest].concat()).collect();
        prop_assert!(bytes.starts_with(&seen));
        for message in &found {
            let head = Head { kind: message.kind, bytes: &message.head };
            let _ = (head.client_message(), head.server_message());
        }
    }

    #[test]
    fn a_bit_turned_in_a_sound_stream_does_not_panic(
        sent in vec((prop_oneof![Just(b'Q'), Just(b'P'), Just(b'B'), Just(b'C'), Just(b'Z')], bodies()), 1..6),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut stream: Vec<u8> = sent.iter().flat_map(|(tag, body)| typed(*tag, body)).collect();
        let place = place.index(stream.len());
        stream[place] ^= 1 << bit;
        let (found, _) = messages(Framer::of_server(), split(&stream, &[7, 900, 60_000]));
        for message in &found {
            let head = Head { kind: message.kind, bytes: &message.head };
            let _ = (head.client_message(), head.server_message());
        }
    }
}
