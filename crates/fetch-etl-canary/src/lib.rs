//! Canary logins, and a scanner that finds their values in any stream, however they are written.
//!
//! [`Canaries`] makes messages from a seed: logins that become rows, and ones that are rejected, of every kind that a decoder
//! may stumble over. Each value in them is unlike anything else in the world. After they went through a pipeline, a [`Scanner`]
//! looks for all of them at once in whatever the pipeline left behind, and knows which of them may be there.
//!
//! ```
//! use fetch_etl_canary::{Canaries, Options, Place, Scanner};
//!
//! let canaries = Canaries::new(7, 100);
//! let message = canaries.messages().next().ok_or("none")?;
//! let address = canaries.of(message).iter().find(|canary| canary.field().as_str() == "ip").ok_or("none")?;
//! let log = format!("INFO received {}", address.value());
//!
//! let scanner = Scanner::new(&canaries, Options::default());
//! let found = scanner.scan(&Place::nowhere("the log"), log.as_bytes())?;
//! assert_eq!(found.total, 1);
//! println!("{}", found.first[0]);   // the log, at byte 14: canary 3 of logins (ip of message 0), as it was sent, raw
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is looked for
//! Every canary as it was sent; an address also in its canonical spelling (RFC 5952), in upper case, expanded, an IPv4-mapped one
//! also as the IPv4 address, and as 16 bytes. Each of those raw, JSON-escaped (what has to be, and every character as `\u00XX`),
//! in hex (both cases), in base64 (standard and URL-safe, at all three alignments) and percent-encoded (what has to be, and
//! every byte, both cases). With [`Hashes::Unsalted`], of canaries that may be nowhere also MD5, SHA-1, SHA-256 and SHA-512 of
//! what was sent, of the canonical spelling and of the 16 bytes: raw, hex (both cases), base64 (both alphabets).
//!
//! # What is not
//! Anything compressed or encrypted; pieces of a value; the four bytes of an IPv4 address (any four bytes are one: only its 16
//! bytes as an IPv4-mapped address are looked for); base64 of a digest that is in the middle of something larger; UTF-16.
//!
//! # False alarms
//! To bound memory the scanner looks for beginnings: the first [`TEXT_BYTES`] bytes of a text before it is written in any
//! way (of addresses as many as tell one from all others, 15 to 39), the first [`DIGEST_BYTES`] of a digest. The shortest needle is
//! [`MIN_NEEDLE`] bytes long. How often noise holds one, with 10,000 canaries:
//!
//! | noise, a gigabyte | needles | by chance |
//! |---|---|---|
//! | random bytes | 60,000 of 8 raw bytes: digests, IPv6 | 60,000 · 10⁹ / 256⁸ = 0.000003 |
//! | random hex digits | 60,000 of 16 digits each case | the same |
//! | random base64 | 30,000 of 10 characters or more | 30,000 · 10⁹ / 64¹⁰ = 0.00003 |
//! | random characters out of a–z, 0–9 | 9,000 of 12 raw | 9,000 · 10⁹ / 36¹² = 0.000002 |
//! | digits, dots and dashes at random | 1,700 of 11 to 15 | 1,700 · 10⁹ / 12¹¹ = 2: no stream is that |
//! | ten zeros, `ff ff`, four random bytes, again and again | 1,500 IPv4 addresses as 16 bytes | 60 · 10⁶ such places · 1,500 / 2³² = 21: nor that |
//!
//! # Cost
//! Measured with 10,643 canaries, all encodings: 287,754 needles, on one core of a small machine: built in less than half a second, with
//! 20 MB at the peak; 80 to 120 MB/s of what is random (bytes, hex), three times that of log lines and zeros. To measure:
//! `cargo test -p fetch-etl-canary --release --test main -- --ignored --nocapture measure`.

mod address;
mod campaign;
mod canaries;
mod canary;
mod directory;
mod encoding;
mod findings;
mod kinds;
mod maker;
mod needles;
mod scanner;

pub use campaign::Campaign;
pub use canaries::{Canaries, Expected, Message};
pub use canary::{Canary, Field, Right};
pub use directory::DirectoryScan;
pub use encoding::{Algorithm, DIGEST_BYTES, Encoding, Form, MIN_NEEDLE, TEXT_BYTES, Writing};
pub use findings::{Finding, Findings, Place};
pub use scanner::{Hashes, Options, Plant, Scan, Scanner};
