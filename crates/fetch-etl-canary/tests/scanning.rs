//! Streams, their boundaries, and places.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::LazyLock;

use fetch_etl_canary::{Campaign, Canaries, Findings, Form, Hashes, Options, Place, Right, Scanner, Writing};
use proptest::prelude::*;

/// One for all tests: it takes a while to build.
static SCANNER: LazyLock<Scanner> =
    LazyLock::new(|| Scanner::new(&Canaries::new(1, 300), Options { hashes: Hashes::Unsalted }));

#[test]
fn no_boundary_between_two_pieces_hides_anything() {
    let scanner = &*SCANNER;
    for plant in scanner.plants() {
        let stream = [b"\x00before \xff".as_slice(), plant.bytes(), b" behind"].concat();
        for boundary in 0..=stream.len() {
            let mut scan = scanner.start(&Place::nowhere("a stream"));
            scan.feed(&stream[..boundary]);
            scan.feed(&stream[boundary..]);
            let findings = scan.finish();
            let found =
                findings.first.iter().any(|f| (f.canary, f.encoding) == (plant.canary, plant.encoding));
            assert!(found, "{plant:?}, cut at {boundary}: {:?}", findings.first);
        }
    }
}

#[test]
fn there_is_a_plant_for_each_writing_and_form() {
    let scanner = &*SCANNER;
    let writings: BTreeSet<_> = scanner.plants().iter().map(|plant| plant.encoding.writing).collect();
    assert_eq!(writings.len(), 15, "{writings:?}");
    let forms: BTreeSet<_> = scanner.plants().iter().map(|plant| plant.encoding.form).collect();
    // Seven of addresses, and four algorithms of three things.
    assert_eq!(forms.len(), 19, "{forms:?}");
    let encodings: BTreeSet<_> = scanner.plants().iter().map(|plant| plant.encoding).collect();
    assert_eq!(encodings.len(), scanner.plants().len());
}

#[test]
fn a_finding_tells_where_and_never_what() {
    let canaries = Canaries::new(5, 30);
    let scanner = Scanner::new(&canaries, Options::default());
    for canary in canaries.all() {
        let stream = format!("123456789 {}", canary.value());
        let findings = scanner.scan(&Place::nowhere("a log"), stream.as_bytes()).unwrap();
        let finding = &findings.first[0];
        assert_eq!(
            (finding.offset, finding.canary, finding.message),
            (10, canary.number(), canary.message())
        );
        assert_eq!((finding.field, finding.set), (canary.field(), "logins"));
        assert_eq!(findings.bytes, stream.len() as u64);
        let said =
            format!("{finding} {findings:?} {scanner:?} {canaries:?} {canary:?} {:?}", scanner.plants());
        assert!(!said.contains(&canary.value()[..8]), "{said}");
    }
}

#[test]
fn rows_may_hold_what_they_store_as_it_was_sent_and_nothing_else() {
    let canaries = Canaries::new(6, 60);
    let scanner = Scanner::new(&canaries, Options::default());
    let scan = |place: &Place, text: &str| scanner.scan(place, text.as_bytes()).unwrap();
    let (table, log) = (Place::with_rows("user_logins"), Place::nowhere("stderr"));
    for canary in canaries.all() {
        let may_be_there = canary.right() == Right::Rows;
        let in_table = scan(&table, canary.value());
        assert_eq!(
            (in_table.is_clean(), in_table.allowed),
            (may_be_there, u64::from(may_be_there)),
            "{canary:?}"
        );
        // An IPv4-mapped address is found as itself and as the IPv4 address in it.
        let times = if canary.value().starts_with("::ffff:") { 2 } else { 1 };
        assert_eq!(scan(&log, canary.value()).total, times, "{canary:?}");
        assert_eq!(scan(&table, &hex::encode(canary.value())).total, times, "{canary:?}");
    }
}

#[test]
fn findings_are_counted_beyond_those_that_are_kept() {
    let canaries = Canaries::new(7, 1);
    let scanner = Scanner::new(&canaries, Options::default());
    let stream = format!("{} ", canaries.all()[0].value()).repeat(Findings::KEPT + 5);
    let findings = scanner.scan(&Place::nowhere("a log"), stream.as_bytes()).unwrap();
    assert_eq!((findings.total, findings.first.len()), (Findings::KEPT as u64 + 5, Findings::KEPT));
}

#[test]
fn a_stream_that_cannot_be_read_is_no_clean_one() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    let error = SCANNER.scan(&Place::nowhere("a stream"), Broken).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn one_scanner_finds_all_parts_of_a_campaign_and_knows_where_digests_are_masks() {
    use sha2::Digest as _;
    let campaign = Campaign::new(8, 100);
    let scanner = campaign.scanner();
    for (set, digests_found) in
        [(&campaign.keyed, 1), (&campaign.plain, 0), (&campaign.panicking, 1), (&campaign.refused, 1)]
    {
        let address = set.all().iter().find(|canary| canary.field().as_str() == "ip").unwrap();
        let place = Place::nowhere("a log");
        let clear = scanner.scan(&place, address.value().as_bytes()).unwrap();
        assert_eq!((clear.total, clear.first[0].set), (1, set.name()));
        let digest = hex::encode(sha2::Sha512::digest(address.value().as_bytes()));
        assert_eq!(scanner.scan(&place, digest.as_bytes()).unwrap().total, digests_found, "{}", set.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_holds_no_canary(seed: u64, alphabet in prop::sample::select(vec![
        (0..=255).collect::<Vec<u8>>(),
        b"0123456789abcdef".to_vec(),
        b"abcdefghijklmnopqrstuvwxyz0123456789".to_vec(),
        b"0123456789.:-".to_vec(),
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".to_vec(),
        vec![0, 0, 0, 0xff],
    ])) {
        let scanner = &*SCANNER;
        let mut rng = fastrand::Rng::with_seed(seed);
        let noise: Vec<u8> = (0..100_000).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
        let findings = scanner.scan(&Place::nowhere("noise"), noise.as_slice()).unwrap();
        prop_assert!(findings.is_clean(), "{}", findings.first[0]);
    }

    #[test]
    fn what_is_planted_in_noise_is_found_wherever_it_is_cut(
        seed: u64,
        cuts in prop::collection::vec(1_usize..200, 1..50),
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 1..10),
    ) {
        let scanner = &*SCANNER;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut stream = Vec::new();
        let mut planted = BTreeSet::new();
        for index in chosen {
            let plant = index.get(scanner.plants());
            // A space: what belongs to base64 or hex must not run into what is planted.
            let length = rng.usize(..300);
            stream.extend(std::iter::repeat_with(|| rng.u8(..)).take(length));
            stream.push(b' ');
            planted.insert((plant.encoding, plant.canary));
            stream.extend_from_slice(plant.bytes());
            stream.push(b' ');
        }
        let mut scan = scanner.start(&Place::nowhere("noise"));
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, others) = rest.split_at((*cut).min(rest.len()));
            scan.feed(piece);
            rest = others;
        }
        let found: BTreeSet<_> =
            scan.finish().first.iter().map(|finding| (finding.encoding, finding.canary)).collect();
        // Some plants say two encodings at once: the IPv4 address inside of an IPv4-mapped one is also itself.
        prop_assert!(found.is_superset(&planted), "{found:?} {planted:?}");
    }
}

#[test]
fn forms_and_writings_have_names() {
    let canaries = Canaries::new(11, 30);
    let scanner = Scanner::new(&canaries, Options::default());
    let plant = scanner.plants().iter().find(|plant| plant.encoding.form == Form::Bytes).unwrap();
    assert_eq!(plant.encoding.to_string(), "16 bytes, raw");
    assert_eq!(plant.encoding.writing, Writing::Raw);
}
