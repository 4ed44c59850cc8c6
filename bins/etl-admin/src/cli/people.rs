//! The command line of what concerns persons.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use etl_worker::cli::ConfigArgs;
use fetch_etl_core::UnixMillis;
use fetch_etl_postgres::AuditHead;

use crate::moment;

/// Fewest and most characters of a reason.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 5..=1_000;

pub(super) const REVEAL_HELP: &str = "\
Examples:
  etl-admin reveal --config etl.toml --row 5fea7756-0ea4-451a-a703-a558b933e274 \\
      --level exists --reason \"ticket 4711\"
  etl-admin reveal --config etl.toml --row 5fea7756-0ea4-451a-a703-a558b933e274 \\
      --private-key vault.key --reason \"ticket 4711\"
  etl-admin reveal --config etl.toml --user 424cdd21-063a-43a7-b91b-7ca1a833afae \\
      --private-key vault.key --reason \"request 12, art. 15\" --level full --reveal-personal-data
  etl-admin reveal --config etl.toml --mask \"$MASK\" --field ip --private-key vault.key \\
      --reason \"ticket 4711\"

It works on Postgres with a vault (vault.recipient). Before anything is opened, the audit has who
asked, when, why, for what and how many values, never the values; where it cannot be written,
nothing is shown. It finds values by masks; there is no way to ask for the mask of a value. --row
and --user read the table of the logins, as a whole unless it has an index on message_id or
user_id.

Exit codes: 0 everything that is kept was shown, 1 nothing is kept, something does not open, or
failed, 2 bad command line or configuration.";

pub(super) const ERASE_HELP: &str = "\
Examples:
  etl-admin erase --config etl.toml --user 424cdd21-063a-43a7-b91b-7ca1a833afae \\
      --reason \"request 12, art. 17\" --dry-run
  etl-admin erase --config etl.toml --user 424cdd21-063a-43a7-b91b-7ca1a833afae \\
      --reason \"request 12, art. 17\" --yes
  etl-admin erase --config etl.toml --user 424cdd21-063a-43a7-b91b-7ca1a833afae \\
      --reason \"signed up again\" --lift --yes

First it leaves a tombstone: from then on a message of theirs, whether late, sent again or
replayed, is stored without masks. Then it deletes the values that the vault keeps of them, and
sets the masks of their rows to NULL; the rows stay, without them. A value that another person
has, too, such as a shared address, stays for that person. It may be stopped at any time, also by
kill -9, and run again.

What it cannot reach: sealed bodies in the quarantine (nobody can tell whose they are without
opening them; a replay stores them without masks), messages in the queues, backups, WAL archives,
and the dead rows until VACUUM. See docs/PERSONAL-DATA.md.

Cost: it reads the table of the logins once for the person's rows and, where the vault has
something of theirs, once for others with the same values; for each 50,000 rows of one person once
more. Run it as the owner of the tables. A rotation of keys and an erasure exclude each other.

Exit codes: 0 done, 1 failed (run it again), 2 bad command line or configuration.";

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Whether a value is kept; without the private key
    Exists,
    /// The network of an address (/24, /48); of anything else the last characters, half of them at most, and 4
    Partial,
    /// The value
    Full,
}

impl Level {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

pub(super) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if REASON_CHARS.contains(&text.chars().count()) {
        return Ok(text.to_owned());
    }
    let (least, most) = (REASON_CHARS.start(), REASON_CHARS.end());
    Err(format!("expected {least} to {most} characters that say why: somebody will read them"))
}

/// Why, for the audit.
#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    /// Why: the audit keeps it for ever, so no personal data in it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: String,
}

/// What `reveal` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").args(["mask", "row", "user"]).required(true))]
pub(crate) struct RevealArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The value behind this mask, of 128 hexadecimal characters
    // Not parsed here: clap would repeat what is none, and it might be a value.
    #[arg(long, value_name = "HEX")]
    pub(crate) mask: Option<String>,
    /// The mask is one of this field
    #[arg(long, value_name = "FIELD", value_parser = ["ip", "device_id"], conflicts_with_all = ["row", "user"])]
    pub(crate) field: Option<String>,
    /// The values of the row with this message_id
    #[arg(long, value_name = "MESSAGE_ID")]
    pub(crate) row: Option<String>,
    /// The values of all rows of the person with this user_id
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<String>,
    #[command(flatten)]
    pub(crate) why: ReasonArgs,
    /// How much to show
    #[arg(long, value_enum, default_value = "partial")]
    pub(crate) level: Level,
    /// The file with the private key of the vault's recipient, see `etl-admin keygen`
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key: Option<PathBuf>,
    /// Use the private key even if others on this machine may read its file
    #[arg(long)]
    pub(crate) insecure_permissions: bool,
    /// Print the values themselves: personal data in clear
    #[arg(long, required_if_eq("level", "full"))]
    pub(crate) reveal_personal_data: bool,
    /// Most values to show
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

/// What `erase` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("sure").args(["yes", "dry_run"]).required(true))]
pub(crate) struct EraseArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The person's user_id
    #[arg(long, value_name = "ID")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) why: ReasonArgs,
    /// Take the tombstone away instead, for a person who comes back; what was erased stays erased
    #[arg(long)]
    pub(crate) lift: bool,
    /// Really do it: nobody can bring the values back
    #[arg(long)]
    pub(crate) yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What can be done with the vault.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Delete values that no row leads to any more, because the rows were deleted
    #[command(after_help = "\
Examples:
  etl-admin vault prune --config etl.toml --reason \"retention of November\" --dry-run
  etl-admin vault prune --config etl.toml --reason \"retention of November\" --yes

Rows that are deleted leave their values in the vault, where nobody finds them by a person any
more, so that an erasure does not reach them. Run it after each deletion of rows. It reads the
table of the logins once for each 200,000 values of the vault, beside running workers; values go in
batches of 1,000, and then the data keys that nothing is sealed with any more. It may be stopped at
any time and run again.

It excludes an erasure and a rotation of keys, and waits for one that was left unfinished to be
finished. Run it as the owner of the tables. The audit has when it began, and how much was deleted.

Exit codes: 0 done, 1 failed (run it again), 2 bad command line or configuration.")]
    Prune(VaultPruneArgs),
}

/// What `vault prune` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("sure").args(["yes", "dry_run"]).required(true))]
pub(crate) struct VaultPruneArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) why: ReasonArgs,
    /// Really delete: nobody can bring the values back
    #[arg(long)]
    pub(crate) yes: bool,
    /// Say how many there are, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What can be done with the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who revealed or erased what, when and why
    #[command(after_help = "\
Examples:
  etl-admin audit list --config etl.toml
  etl-admin audit list --config etl.toml --since 7d --limit 1000")]
    List(AuditListArgs),
    /// Check that no row of the audit was changed, removed, put in or reordered
    #[command(after_help = "\
Examples:
  etl-admin audit verify --config etl.toml
  etl-admin audit verify --config etl.toml --expect-head \"$(cat head-of-last-week)\"

Each row is chained to the one before by a hash, which this program calculates again. Whoever may
do everything in the database can forge the whole chain, or cut its end off together with
etl.audit_head: keep the head that this and each reveal and erase prints where they cannot write,
and give it to --expect-head.

Exit codes: 0 nothing was changed, 1 something was, or failed, 2 bad command line or
configuration.")]
    Verify(AuditVerifyArgs),
}

/// What `audit list` takes.
#[derive(Debug, Args)]
pub(crate) struct AuditListArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Only what was at this moment or later: 2026-11-24, 2026-11-24T10:00Z, or 2h (ago); units are s, m, h, d, times are UTC
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub(crate) since: Option<UnixMillis>,
    /// Most rows to list, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// What `audit verify` takes.
#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// A head of the audit that was noted before: the row must still be there, and the same
    #[arg(long, value_name = "SEQ:HASH")]
    pub(crate) expect_head: Option<AuditHead>,
}
