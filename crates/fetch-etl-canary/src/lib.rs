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
//! way (addresses: as many as tell one from all others, 15 to 39), the first [`DIGEST_BYTES`] of a digest. So no needle says
//! less than 8 bytes' worth, and the shortest is 8 bytes long ([`MIN_NEEDLE`]). In a stream of D random bytes a needle of n bytes is found by chance D / 256ⁿ times: with 40,000 digests
//! raw, n = 8, in a gigabyte: 40,000 · 10⁹ / 256⁸ = 0.000002. In random hex, 16 digits: the same. A text of at least 8 random characters out
//! of 36 in a gigabyte of random text out of these 36: 10,000 · 10⁹ / 36⁸ would be 3.5, but the shortest come with four marks
//! (`?>?>`) in their middle that no such text has, and the others have 11 or more: 10,000 · 10⁹ / 36¹¹ = 0.00008. The 16 bytes of an
//! IPv4-mapped address have 12 fixed ones, and are found by chance once in 2³² / (number of addresses) places where 10 zero bytes and
//! two of 0xff stand.
//!
//! # Cost
//! For 10,000 canaries with all encodings (480,000 needles) see `cargo test -p fetch-etl-canary --release -- --ignored --nocapture
//! measure`.

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
