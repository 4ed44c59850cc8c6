//! `etl-admin keygen`: new keys, and where they belong.

use std::path::Path;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etl_worker::failure::Failure;
use fetch_etl_mask::KeyRing;
use fetch_etl_seal::{KeyError, KeyPair};
use zeroize::Zeroizing;

use crate::Outcome;
use crate::cli::{KeygenArgs, KeygenCommand};
use crate::key_file::{self, NewVersion, PRIVATE, PUBLIC};

/// Bytes of a masking key.
const MASTER_BYTES: usize = 32;

pub(crate) fn run(args: &KeygenArgs) -> Result<Outcome, Failure> {
    match &args.kind {
        None => pair(&args.private_key, &args.public_key),
        Some(KeygenCommand::Master { add_to: Some(file), .. }) => add_master(file),
        Some(KeygenCommand::Master { out, after_sha512, .. }) => master(out, *after_sha512),
    }
}

fn pair(private: &Path, public: &Path) -> Result<Outcome, Failure> {
    // Both first: half a pair helps nobody.
    key_file::must_be_free(private)?;
    key_file::must_be_free(public)?;
    let failed = |error: KeyError| Failure::failed(error.to_string());
    let pair = KeyPair::generate().map_err(failed)?;
    key_file::create(private, PRIVATE, &pair.to_private_text().map_err(failed)?)?;
    if let Err(failure) = key_file::create(public, PUBLIC, &pair.recipient().to_text()) {
        // Nothing was sealed to it yet.
        let _ = std::fs::remove_file(private);
        return Err(failure);
    }
    let (private, public, id) = (private.display(), public.display(), pair.recipient().id());
    Ok(Outcome::done(format!(
        "private key  {private}
  Keep it away from the workers, and keep a second copy: without it nobody can open what was sealed.
  etl-admin quarantine replay and reveal use it: --private-key {private}

public key   {public}  (recipient {id})
  Give it to every worker, in its configuration file:

    [quarantine]
    recipient_file = \"{public}\"

  From its next start on, a worker keeps rejected messages sealed to this key, and deletes them from the queue.

    [vault]
    recipient_file = \"{public}\"

  It keeps masked values sealed to this key, for etl-admin reveal. A pair of its own for each lets different people open them.
"
    )))
}

fn new_master() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0; MASTER_BYTES]);
    rand::fill(bytes.as_mut_slice()).map_err(|_| Failure::failed("the system gave no random numbers"))?;
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MASTER_BYTES * 2));
    STANDARD.encode_string(bytes.as_slice(), &mut text);
    Ok(text)
}

fn master(out: &Path, after_sha512: bool) -> Result<Outcome, Failure> {
    let key = new_master()?;
    if after_sha512 {
        key_file::create(out, PRIVATE, &Zeroizing::new(format!("0:sha512\n1:{}", key.as_str())))?;
    } else {
        key_file::create(out, PRIVATE, &key)?;
    }
    let out = out.display();
    let next = if after_sha512 {
        "  Workers go on with plain SHA-512 until etl-admin rotate brings all masks up to this key.\n"
    } else {
        ""
    };
    Ok(Outcome::done(format!(
        "masking key  {out}
  Give it to every worker, and keep a second copy: with another key, equal values have other masks.

    [masking]
    key_file = \"{out}\"

{next}  Whoever has this key can find the value of a mask by trying: readers of the table must not have it.
"
    )))
}

/// A new key behind those in a file. What is there stays there, and the file is whole at any time.
fn add_master(file: &Path) -> Result<Outcome, Failure> {
    let shown = file.display();
    // Before anything is read: what is read then is what is replaced.
    let new_version = NewVersion::begin(file)?;
    let there = key_file::read_text(file)?;
    let ring = KeyRing::from_text(&there).map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
    let id = ring
        .newest()
        .get()
        .checked_add(1)
        .ok_or_else(|| Failure::usage(format!("{shown}: no id is left")))?;
    let key = new_master()?;
    // One key by itself has no id in the file, and gets the one that it has.
    let first = if there.contains(':') { "" } else { "1:" };
    let there =
        if first.is_empty() { there.trim_end().to_owned() } else { there.split_whitespace().collect() };
    let there = Zeroizing::new(there);
    let text = Zeroizing::new(format!("{first}{}\n{id}:{}", there.as_str(), key.as_str()));
    KeyRing::from_text(&text).map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
    new_version.put(&text)?;
    Ok(Outcome::done(format!(
        "masking key {id}  behind the others in {shown}
  1. Give the file to every worker, and keep a second copy. They go on with the key that is in force.
  2. etl-admin rotate puts the new key in force and brings all masks up to it.
"
    )))
}
