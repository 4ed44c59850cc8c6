//! Keys as text: what is read, what is refused, and how that is said.

use fetch_etl_seal::{
    EnvelopeSealer, KeyError, KeyPair, Opener, PrivateKey, Purpose, Recipient, WrapAlgorithm,
};

use crate::PAIRS;

/// Made with `openssl`, and good for nothing else.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDKDN6hSeRTRUHpZS89H0srYDQd
aJRkAEipmc+xYRFHBGzzmF0qli93ZCyk3+S4F8KY86MuhDEQ3cI7a/7vQ/nL//MC
BTxTViceDEEO5FKqf+ealYCLI9y2X64GYW8KHuDt+GC7gkFelvIuoiBn1SA6iX2q
E9mnIDfbAna1EjcpoQIDAQAB
-----END PUBLIC KEY-----";

const EC_P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXJvMNF4oaDipemWvYtV3TlvtpaRI
swI6RBrlRFuXyB3KEK1HdCF4/B/q7/Rb4Py1q3XIJeefEXXW5dBxLWMtXw==
-----END PUBLIC KEY-----";

#[test]
fn both_halves_of_both_kinds_read_back_as_the_same_key() {
    for pair in &*PAIRS {
        let public = Recipient::from_text(&pair.recipient().to_text()).unwrap();
        assert_eq!(public.id(), pair.recipient_id());
        assert_eq!(public.to_text(), pair.recipient().to_text());
        let private = pair.to_private_text().unwrap();
        let again = KeyPair::from_text(&private).unwrap();
        assert_eq!(again.recipient_id(), pair.recipient_id());
        assert_eq!(again.to_private_text().unwrap(), private);
    }
    let [x25519, rsa] = &*PAIRS;
    assert_eq!(x25519.recipient().algorithm(), WrapAlgorithm::HpkeX25519);
    assert_eq!(rsa.recipient().algorithm(), WrapAlgorithm::RsaOaepSha256);
    assert_ne!(x25519.recipient_id(), rsa.recipient_id());
}

#[test]
fn white_space_and_comments_around_a_key_do_no_harm() {
    let [x25519, rsa] = &*PAIRS;
    let line = format!("\n  {}\r\n", x25519.recipient().to_text());
    assert_eq!(Recipient::from_text(&line).unwrap().id(), x25519.recipient_id());
    let windows = rsa.recipient().to_text().replace('\n', "\r\n");
    assert_eq!(Recipient::from_text(&windows).unwrap().id(), rsa.recipient_id());
    let commented = format!("made on Monday\n{}\n", *rsa.to_private_text().unwrap());
    assert_eq!(KeyPair::from_text(&commented).unwrap().recipient_id(), rsa.recipient_id());
}

#[test]
fn the_wrong_half_is_named_as_such() {
    for pair in &*PAIRS {
        let private = pair.to_private_text().unwrap();
        assert_eq!(Recipient::from_text(&private).unwrap_err(), KeyError::PrivateInsteadOfPublic);
        let public = pair.recipient().to_text();
        assert_eq!(KeyPair::from_text(&public).unwrap_err(), KeyError::PublicInsteadOfPrivate);
    }
}

#[test]
fn what_is_no_key_is_refused_with_its_reason() {
    for (text, error) in [
        ("", KeyError::Empty),
        (" \n", KeyError::Empty),
        ("hunter2", KeyError::NotAKey),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA", KeyError::NotAKey),
        ("fetch-etl-recipient-v2:x25519:AAAA", KeyError::UnknownVersion),
        (RSA_1024, KeyError::RsaSize),
        (EC_P256, KeyError::NotRsa),
    ] {
        assert_eq!(Recipient::from_text(text).unwrap_err(), error, "{text}");
    }
    assert_eq!(KeyPair::from_text("").unwrap_err(), KeyError::Empty);
    assert_eq!(KeyPair::from_text("hunter2").unwrap_err(), KeyError::NotAKey);
}

#[test]
fn a_cut_key_is_refused_wherever_it_is_cut() {
    for pair in &*PAIRS {
        let (public, private) = (pair.recipient().to_text(), pair.to_private_text().unwrap());
        let (public, private) = (public.trim_end(), private.trim_end());
        for length in 0..public.len() {
            assert!(Recipient::from_text(&public[..length]).is_err(), "{length}");
        }
        for length in 0..private.len() {
            assert!(KeyPair::from_text(&private[..length]).is_err(), "{length}");
        }
    }
}

#[test]
fn neither_debug_nor_errors_show_key_material() {
    for pair in &*PAIRS {
        let private = pair.to_private_text().unwrap();
        let secret_lines: Vec<&str> = private
            .lines()
            .flat_map(|line| line.rsplit(':').next())
            .filter(|line| !line.starts_with('-'))
            .collect();
        assert!(secret_lines.iter().any(|line| line.len() >= 48));

        let error = Recipient::from_text(&private).unwrap_err();
        let broken = KeyPair::from_text(&private.replace(secret_lines[0], "")).unwrap_err();
        let sealer = EnvelopeSealer::new(pair.recipient().clone(), Purpose::Quarantine);
        let opener = Opener::new(std::sync::Arc::clone(pair));
        let shown = format!("{pair:?} {sealer:?} {opener:?} {error} {error:?} {broken} {broken:?}");
        assert!(secret_lines.iter().all(|line| !shown.contains(line)), "{shown}");
        assert!(shown.contains(&pair.recipient_id().to_string()), "{shown}");
    }
}

#[test]
fn der_as_a_kms_hands_it_out_is_read() {
    use base64::Engine;
    let [_, rsa] = &*PAIRS;
    let text = rsa.recipient().to_text();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    assert_eq!(Recipient::from_rsa_der(&der).unwrap().id(), rsa.recipient_id());
    assert_eq!(Recipient::from_rsa_der(&der[1..]).unwrap_err(), KeyError::NotRsa);
}
