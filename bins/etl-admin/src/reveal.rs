//! `etl-admin reveal`: what is behind masks, for those who may know and say why.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etl_worker::failure::Failure;
use fetch_etl_core::Pii;
use fetch_etl_postgres::{AuditEvent, AuditHead, FoundMask, FoundMasks, KeptValue, Sought};
use fetch_etl_seal::VaultOpener;
use zeroize::Zeroizing;

use crate::actor::{Actor, unsaid};
use crate::audit::head;
use crate::cli::{Level, RevealArgs};
use crate::store::PeopleStore;
use crate::words::{counted, harmless};
use crate::{Outcome, key_file};

/// Most characters of a value that `partial` shows.
const PARTIAL_CHARS: usize = 4;

/// Characters of a mask that say which one it is.
const MASK_START: usize = 16;

pub(crate) async fn run(args: RevealArgs) -> Result<Outcome, Failure> {
    let mask = args.mask.as_deref().map(mask_from).transpose()?;
    let sought = sought(&args, mask.as_ref());
    let opener = opener(&args)?;
    let store = PeopleStore::open(&args.config).await?;
    let found = store.sink.find_masks(sought, args.limit).await;
    let found = found.map_err(|error| store.failure(error))?;
    let (actor, subject) = (Actor::of_this_process(), subject(sought));
    let event = AuditEvent {
        level: Some(args.level.as_str()),
        entries: found.kept(),
        ..actor.event("reveal", &subject, &args.why.reason)
    };
    // Before anything is opened or said: without it, nothing is.
    let at = store.sink.append_audit(&event).await.map_err(|error| unsaid("shown", store.failure(error)))?;
    let table = Table::of(&found, args.level, opener.as_ref());
    print(&table.text)?;
    let mut text = table.summary(&found, args.limit);
    text.push_str(&head(at));
    let complete = table.unopened == 0 && (args.level == Level::Exists || found.kept() > 0);
    Ok(Outcome { text, complete })
}

/// The opener; none where only is asked whether something is there.
fn opener(args: &RevealArgs) -> Result<Option<VaultOpener>, Failure> {
    if args.level == Level::Exists {
        return Ok(None);
    }
    let file = args.private_key.as_deref().ok_or_else(|| {
        Failure::usage(format!("--level {} needs --private-key", args.level.as_str()))
            .hint("--level exists says whether values are kept, without a key")
    })?;
    Ok(Some(VaultOpener::new(key_file::read_private(file, args.insecure_permissions)?)))
}

/// A mask as the table has it.
fn mask_from(hex: &str) -> Result<[u8; 64], Failure> {
    // A head of the audit is written in the same form.
    let head: Result<AuditHead, _> = format!("0:{}", hex.trim()).parse();
    head.map(|head| head.hash)
        .map_err(|_| Failure::usage("--mask: expected the 128 hexadecimal characters of a mask"))
}

fn sought<'a>(args: &'a RevealArgs, mask: Option<&'a [u8; 64]>) -> Sought<'a> {
    match (mask, &args.row, &args.user) {
        (Some(mask), ..) => Sought::Mask { mask, field: args.field.as_deref() },
        (None, Some(row), _) => Sought::Row(row),
        (None, None, user) => Sought::User(user.as_deref().unwrap_or_default()),
    }
}

/// What it is about, for the audit: enough to find it, and nothing of a value.
fn subject(sought: Sought<'_>) -> String {
    match sought {
        Sought::Mask { mask, field } => {
            let start: String = mask.iter().take(MASK_START / 2).map(|byte| format!("{byte:02x}")).collect();
            let field = field.map(|field| format!("{field} ")).unwrap_or_default();
            format!("mask {field}{start}…")
        }
        Sought::Row(row) => format!("row {row}"),
        Sought::User(user) => format!("user {user}"),
    }
}

/// The lines for the masks that were found.
struct Table {
    text: Zeroizing<String>,
    shown: u64,
    unopened: u64,
}

impl Table {
    fn of(found: &FoundMasks, level: Level, opener: Option<&VaultOpener>) -> Self {
        let mut table = Self { text: Zeroizing::default(), shown: 0, unopened: 0 };
        if !found.masks.is_empty() {
            table.push("field", "mask", "rows", "first seen", "value");
        }
        for mask in &found.masks {
            let value = table.value(mask, level, opener);
            let seen = mask.kept.as_ref().map_or("", |kept| &*kept.created_at);
            let rows = if mask.rows == 0 { String::new() } else { mask.rows.to_string() };
            let start: String = mask.mask.chars().take(MASK_START).collect();
            table.push(&harmless(&mask.field), &harmless(&start), &rows, seen, &value);
        }
        table
    }

    fn push(&mut self, field: &str, mask: &str, rows: &str, seen: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(*self.text, "  {field:<9}  {mask:<16}  {rows:<6}  {seen:<20}  {value}");
    }

    /// What is said of a value.
    fn value(&mut self, mask: &FoundMask, level: Level, opener: Option<&VaultOpener>) -> Zeroizing<String> {
        let (Some(kept), Some(opener)) = (&mask.kept, opener) else {
            let text = if mask.kept.is_some() { "kept" } else { "not kept" };
            return Zeroizing::new(text.to_owned());
        };
        let KeptValue { data_key, sealed_mask, sealed_key_id, ciphertext, .. } = kept;
        match opener.open(data_key, &mask.field, sealed_mask, *sealed_key_id, ciphertext) {
            Ok(value) => {
                self.shown += 1;
                let whole = || Zeroizing::new(value.expose().clone());
                let text = if level == Level::Full { whole() } else { partial(&mask.field, &value) };
                Zeroizing::new(harmless(&text))
            }
            Err(error) => {
                self.unopened += 1;
                Zeroizing::new(format!("does not open: {error}"))
            }
        }
    }

    fn summary(&self, found: &FoundMasks, limit: u32) -> String {
        let (kept, all) = (found.kept(), found.masks.len() as u64);
        let mut text = match (all, kept) {
            (0, _) => "nothing is kept of it, or it is not there\n".to_owned(),
            (_, 0) => format!(
                "{}, nothing is kept of {}\n",
                counted(all, "mask", "masks"),
                if all == 1 { "it" } else { "them" }
            ),
            _ => format!("{} kept", counted(kept, "value", "values")) + "\n",
        };
        if self.unopened > 0 {
            let _ = writeln!(text, "{} not opened", counted(self.unopened, "value", "values"));
        }
        if found.more {
            let _ = writeln!(text, "there are more than {limit} (--limit)");
        }
        text
    }
}

/// A part of a value that does not tell it: the network of an address, the end of anything else.
fn partial(field: &str, value: &Pii<String>) -> Zeroizing<String> {
    let text = value.expose();
    let address = (field == "ip").then(|| text.parse::<IpAddr>().ok()).flatten();
    Zeroizing::new(match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{}/24", Ipv4Addr::new(a, b, c, 0))
        }
        Some(IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
        None => {
            let chars = text.chars().count();
            let shown = (chars / 2).min(PARTIAL_CHARS);
            let start = text.char_indices().nth(chars - shown).map_or(text.len(), |(start, _)| start);
            format!("…{}", text.get(start..).unwrap_or_default())
        }
    })
}

/// Prints what may hold personal data; it does not stay in memory.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    printed.map_err(|error| Failure::failed(format!("cannot write to stdout: {}", error.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_network_or_the_end_and_never_more_than_half() {
        for (field, value, part) in [
            ("ip", "203.0.113.77", "203.0.113.0/24"),
            ("ip", "2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
            ("ip", "::ffff:203.0.113.77", "203.0.113.0/24"),
            ("ip", "::1", "::/48"),
            ("ip", "no address", "…ress"),
            ("device_id", "593-47-5928", "…5928"),
            ("device_id", "203.0.113.77", "…3.77"),
            ("device_id", "abcd", "…cd"),
            ("device_id", "abc", "…c"),
            ("device_id", "é", "…"),
            ("device_id", "", "…"),
        ] {
            let shown = partial(field, &Pii::new(value.to_owned()));
            assert_eq!(*shown, part, "{value}");
        }
    }
}
