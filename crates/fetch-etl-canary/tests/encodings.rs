//! What must be found, written out by other means than the crate's own.

use fetch_etl_canary::{
    Algorithm, Canaries, Canary, Encoding, Field, Form, Hashes, Options, Place, Right, Scanner, Writing,
};

fn scanner(canaries: &Canaries) -> Scanner {
    Scanner::new(canaries, Options { hashes: Hashes::Unsalted })
}

fn canary(canaries: &Canaries, is_wanted: impl Fn(&Canary) -> bool) -> &Canary {
    canaries.all().iter().find(|canary| is_wanted(canary)).unwrap()
}

/// The encodings in which a text is found to say this canary.
fn found(scanner: &Scanner, canary: &Canary, text: impl AsRef<[u8]>) -> Vec<Encoding> {
    let findings = scanner.scan(&Place::nowhere("a text"), text.as_ref()).unwrap();
    let of_canary = findings.first.iter().filter(|finding| finding.canary == canary.number());
    of_canary.map(|finding| finding.encoding).collect()
}

fn as_sent(writing: Writing) -> Encoding {
    Encoding { form: Form::AsSent, writing }
}

#[test]
fn a_text_is_found_however_it_is_written() {
    let canaries = Canaries::new(1, 300);
    let scanner = scanner(&canaries);
    // A letter whose code has a hex digit that has two cases, among those that are looked for.
    let has_two_cases = |canary: &Canary| canary.value()[..10].contains(['j', 'k', 'l', 'm', 'n', 'o', 'z']);
    let special = canary(&canaries, |canary| {
        canary.right() == Right::Nowhere && canary.value().contains('"') && has_two_cases(canary)
    });
    let value = special.value();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    for (text, writing) in [
        (value.to_owned(), Writing::Raw),
        (format!("{value:?}"), Writing::JsonEscaped),
        (value.chars().map(|c| format!("\\u00{:02x}", u32::from(c))).collect(), Writing::JsonUnicode),
        (value.chars().map(|c| format!("\\u00{:02X}", u32::from(c))).collect(), Writing::JsonUnicodeUpper),
        (hex.clone(), Writing::Hex),
        (hex.to_uppercase(), Writing::HexUpper),
        (value.replace('"', "%22"), Writing::Percent),
        (value.bytes().map(|byte| format!("%{byte:02X}")).collect(), Writing::PercentAll),
        (value.bytes().map(|byte| format!("%{byte:02x}")).collect(), Writing::PercentAllLower),
    ] {
        assert_eq!(
            found(&scanner, special, format!("before {text} behind")),
            [as_sent(writing)],
            "{writing}"
        );
    }
}

#[test]
fn base64_is_found_at_every_alignment_with_anything_around() {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let canaries = Canaries::new(2, 300);
    let scanner = scanner(&canaries);
    let marked =
        canary(&canaries, |canary| canary.right() == Right::Nowhere && canary.value().contains("?>?>"));
    for before in 0..7 {
        for behind in ["", "1", "22", "\u{7f}\u{7f}\u{7f}"] {
            let around = format!("{}{}{behind}", "\u{7f}".repeat(before), marked.value());
            let offset = (before % 3) as u8;
            let standard = STANDARD.encode(&around);
            assert_eq!(
                found(&scanner, marked, &standard),
                [as_sent(Writing::Base64(offset))],
                "{before} {behind:?}"
            );
            let for_urls = URL_SAFE.encode(&around);
            assert_ne!(standard, for_urls, "the marks have no place of their own in the alphabets");
            let alphabet = found(&scanner, marked, &for_urls);
            assert_eq!(alphabet.len(), 1, "{before} {behind:?}");
            assert!(matches!(alphabet[0].writing, Writing::Base64Url(at) if at == offset), "{alphabet:?}");
        }
    }
}

#[test]
fn every_spelling_of_an_address_is_found() {
    let canaries = Canaries::new(3, 300);
    let scanner = scanner(&canaries);
    for spelling in
        ["IPv6, compressed", "IPv6, expanded", "IPv6, upper case", "IPv6, plain", "IPv6 with IPv4 inside"]
    {
        let message = canaries.messages().find(|message| message.kind() == spelling).unwrap();
        let sent = canaries.of(message).iter().find(|canary| canary.field() == Field::Ip).unwrap();
        let address: std::net::Ipv6Addr = sent.value().parse().unwrap();
        let groups = address.segments();
        for text in [
            address.to_string(),
            address.to_string().to_uppercase(),
            groups.map(|group| format!("{group:04x}")).join(":"),
            groups.map(|group| format!("{group:04X}")).join(":"),
            groups.map(|group| format!("{group:x}")).join(":"),
        ] {
            if text.starts_with("0:") {
                continue;
            }
            assert!(!found(&scanner, sent, &text).is_empty(), "{spelling}: {text}");
        }
        assert!(!found(&scanner, sent, address.octets()).is_empty(), "{spelling}: bytes");
        let hex: String = address.octets().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!found(&scanner, sent, hex).is_empty(), "{spelling}: bytes in hex");
        if let Some(dotted) = address.to_ipv4_mapped() {
            assert!(!found(&scanner, sent, dotted.to_string()).is_empty(), "{spelling}: {dotted}");
        }
    }
}

#[test]
fn digests_are_found_where_they_give_away_something() {
    use sha2::Digest as _;
    let canaries = Canaries::new(4, 300);
    let unsalted = scanner(&canaries);
    let address =
        canary(&canaries, |canary| canary.value().starts_with('2') && canary.value().contains(":0:0:"));
    let canonical = address.value().parse::<std::net::Ipv6Addr>().unwrap();
    let with_prefix = |form, digest: Vec<u8>| {
        for (text, writing) in [
            (digest.clone(), Writing::Raw),
            (hex::encode(&digest).into_bytes(), Writing::Hex),
            (hex::encode_upper(&digest).into_bytes(), Writing::HexUpper),
        ] {
            assert_eq!(found(&unsalted, address, text), [Encoding { form, writing }], "{form} {writing}");
        }
    };
    let of_sent = address.value().as_bytes();
    with_prefix(Form::Digest(Algorithm::Md5), md5::Md5::digest(of_sent).to_vec());
    with_prefix(Form::Digest(Algorithm::Sha1), sha1::Sha1::digest(of_sent).to_vec());
    with_prefix(Form::Digest(Algorithm::Sha256), sha2::Sha256::digest(of_sent).to_vec());
    with_prefix(Form::Digest(Algorithm::Sha512), sha2::Sha512::digest(of_sent).to_vec());
    let text = canonical.to_string();
    with_prefix(Form::DigestOfCanonical(Algorithm::Sha256), sha2::Sha256::digest(text.as_bytes()).to_vec());
    with_prefix(Form::DigestOfBytes(Algorithm::Sha512), sha2::Sha512::digest(canonical.octets()).to_vec());

    let mask = hex::encode(sha2::Sha512::digest(of_sent));
    let allowed = Scanner::new(&canaries, Options { hashes: Hashes::Allowed });
    assert!(found(&allowed, address, &mask).is_empty());
    let stored = canary(&canaries, |canary| canary.right() == Right::Rows);
    let harmless = hex::encode(sha2::Sha512::digest(stored.value().as_bytes()));
    assert!(
        found(&unsalted, stored, harmless).is_empty(),
        "what stands in clear needs no search for digests"
    );
}
