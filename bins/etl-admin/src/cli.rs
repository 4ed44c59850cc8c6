//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use etl_worker::cli::ConfigArgs;
use fetch_etl_core::{QuarantineState, RejectReason, UnixMillis};

use crate::moment;

mod masks;
mod people;

pub(crate) use masks::{PolicyCommand, PolicySetArgs, PolicyShowArgs, RotateArgs};
pub(crate) use people::{
    AuditCommand, AuditListArgs, AuditVerifyArgs, EraseArgs, Level, RevealArgs, VaultCommand, VaultPruneArgs,
};

/// Keys, the quarantine, dead letters and personal data: what an operator of etl-worker does by hand.
#[derive(Debug, Parser)]
#[command(
    name = "etl-admin",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  etl-admin keygen                                           a key pair for rejected messages
  etl-admin keygen master                                    a masking key
  etl-admin rotate --config etl.toml                         all masks brought up to a new key
  etl-admin quarantine list --config etl.toml                what was rejected, and why
  etl-admin quarantine replay --config etl.toml --private-key recipient.key --reason wrong_type
  etl-admin redrive --config etl.toml --from login-queue-dead
  etl-admin reveal --config etl.toml --private-key vault.key --row ID --reason \"ticket 4711\"
  etl-admin erase --config etl.toml --user ID --reason \"request 12\" --dry-run
  etl-admin audit verify --config etl.toml                   who looked, and that nobody changed it

Exit codes: 0 done, 1 failed, or something that was asked for is left to do, 2 bad command line or
configuration."
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key pair to which workers seal rejected messages, or a masking key
    #[command(after_help = "\
Examples:
  etl-admin keygen
  etl-admin keygen --private-key /media/safe/recipient.key --public-key recipient.pub
  etl-admin keygen master --out masking.key
  etl-admin keygen master --add-to masking.key       for a rotation, see etl-admin rotate

No key is ever overwritten. Private and masking keys are readable by their owner only (0600).
--add-to writes FILE.new and puts it in the place of FILE (or of what FILE is a link to).
Two at a time do not get in each other's way: the second is refused.")]
    Keygen(KeygenArgs),
    /// Look at rejected messages, give them another try, or give them up
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Bring all stored masks up to the newest key of the key file, without the values behind them
    #[command(after_help = "\
Examples:
  etl-admin keygen master --add-to masking.key        1. a new key behind the old one
  (give the file to every worker, one after the other: they go on with the old key)
  etl-admin rotate --config etl.toml --dry-run        2. what there is to do
  etl-admin rotate --config etl.toml                  3. the new key in force, all masks brought up

Workers may run: those that have the new key go on with it, others stop and say so. It may be
stopped at any time, also by kill -9, and run again. Until it is done, rows of the old key do not
match new ones; mask_key_id tells them apart. The old key stays in the file: a value is masked with
both in turn. The table grows by what is rewritten, until it is vacuumed. Postgres 14 or newer is
much faster.

Refused where a field's method makes no masks of a key any more (redact, drop, partial) and rows of
an older key still have some of it: with the new key's id they would be mislabelled.

Exit codes: 0 everything is of the newest key, 1 failed, or something is left, 2 bad command line
or configuration.")]
    Rotate(RotateArgs),
    /// Show the masking policy in force, or put another one in force
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Send the messages of a dead-letter queue to their queue again, under the ids that they had
    #[command(after_help = "\
Examples:
  etl-admin redrive --config etl.toml --from login-queue-dead --dry-run
  etl-admin redrive --config etl.toml --from login-queue-dead
  etl-admin redrive --config etl.toml --limit 1000 \\
      --from https://sqs.eu-central-1.amazonaws.com/123456789012/login-queue-dead

Why not the redrive of SQS itself (the console's, or StartMessageMoveTask): it gives every message
a new id. A message that was stored and then could not be deleted would become a second row. This
command adds two message attributes, origin-message-id and origin-sent-timestamp, by which
etl-worker knows the message as what it is. It may be stopped at any time and run again: a message
that was sent and not yet deleted is sent twice, and stored once.

What is rejected again comes back to the dead-letter queue: fix the cause first. No more messages
are sent than there were at the start; where the queue does not tell (sqs:GetQueueAttributes is
denied), --limit is required.

Exit codes: 0 everything was sent, or as much as --limit says; 1 something was not, or is left in
the queue; 2 bad command line or configuration.")]
    Redrive(RedriveArgs),
    /// Get the values behind masks back, with the private key and a reason, which the audit keeps
    #[command(after_help = people::REVEAL_HELP)]
    Reveal(RevealArgs),
    /// Erase a person: their masks and the values behind them go, and a tombstone keeps out what is still to come
    #[command(after_help = people::ERASE_HELP)]
    Erase(EraseArgs),
    /// Delete what the vault keeps of rows that are gone
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Look at who revealed and erased what, and check that nobody changed that
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// What `keygen` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct KeygenArgs {
    /// Another kind of key.
    #[command(subcommand)]
    pub(crate) kind: Option<KeygenCommand>,
    /// Where the private key goes, which opens what was sealed
    #[arg(long, value_name = "FILE", default_value = "recipient.key")]
    pub(crate) private_key: PathBuf,
    /// Where the public key goes, to which workers seal
    #[arg(long, value_name = "FILE", default_value = "recipient.pub")]
    pub(crate) public_key: PathBuf,
}

/// Other kinds of keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeygenCommand {
    /// Make a masking key: 32 random bytes, base64
    #[command(after_help = "\
Examples:
  etl-admin keygen master
  etl-admin keygen master --out /run/secrets/masking-key
  etl-admin keygen master --add-to masking.key       a new key behind those in the file
  etl-admin keygen master --after-sha512             a first key where rows were masked without one")]
    Master {
        /// Where the key goes
        #[arg(long, value_name = "FILE", default_value = "masking.key")]
        out: PathBuf,
        /// Add the key behind those that are in this file, for a rotation
        #[arg(long, value_name = "FILE", conflicts_with_all = ["out", "after_sha512"])]
        add_to: Option<PathBuf>,
        /// Make a key that follows on plain SHA-512, for a rotation of rows that were masked without a key
        #[arg(long)]
        after_sha512: bool,
    },
}

/// What can be done with the quarantine.
#[derive(Debug, Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List rejected messages: which, why and since when, never what is in them
    #[command(after_help = "\
Examples:
  etl-admin quarantine list --config etl.toml
  etl-admin quarantine list --config etl.toml --reason wrong_type --since 2h
  etl-admin quarantine list --config etl.toml --state all --since 2026-11-01")]
    List(ListArgs),
    /// Show what is known of one message; with the private key, the message itself
    #[command(after_help = "\
Examples:
  etl-admin quarantine show --config etl.toml 5fea7756-0ea4-451a-a703-a558b933e274
  etl-admin quarantine show --config etl.toml 5fea7756-0ea4-451a-a703-a558b933e274 \\
      --private-key recipient.key --reveal-personal-data --reason \"ticket 4711\"

A message is shown only after the audit has who asked, when and why (etl-admin audit list). An
SQLite file has no audit.")]
    Show(ShowArgs),
    /// Decode and mask rejected messages again and store them, each once, under the keys that they had
    #[command(after_help = "\
Examples:
  etl-admin quarantine replay --config etl.toml --private-key recipient.key --all --dry-run
  etl-admin quarantine replay --config etl.toml --private-key recipient.key \\
      --reason refused_by_sink --since 1d

Use the configuration file of the workers: the masks must be the same, and with vault.recipient the
values are kept in the vault, as a worker would. A message that becomes a row, or was one already,
is marked as replayed, and its sealed body is deleted. What is rejected again stays open, with its
new reason. --dry-run writes nothing but the audit's row, which comes before anything is opened (an
SQLite file has no audit). It may be stopped at any time, also by kill -9, and run
again: nothing is lost, and nothing is stored twice.

Exit codes: 0 all that this key was to open is replayed, 1 failed, or something of that stays open,
2 bad command line or configuration. What is sealed to another key, or kept without a body, is left
out and does not count.")]
    Replay(ReplayArgs),
    /// Give rejected messages up: they are marked as discarded, and their sealed bodies are deleted
    #[command(after_help = "\
Examples:
  etl-admin quarantine discard --config etl.toml --reason invalid_json --until 30d --dry-run
  etl-admin quarantine discard --config etl.toml --reason invalid_json --until 30d --yes
  etl-admin quarantine discard --config etl.toml --key 5fea7756-0ea4-451a-a703-a558b933e274 --yes

The entries stay, with when that was and as which role of the database. A message that is still in
the queue opens its entry again when it is rejected again.")]
    Discard(DiscardArgs),
}

/// Which messages are meant.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only messages rejected for this reason; can be repeated
    #[arg(long, value_name = "REASON", value_parser = reason, value_delimiter = ',')]
    pub(crate) reason: Vec<RejectReason>,
    /// Only messages quarantined for the first time at this moment or later: 2026-11-24, 2026-11-24T10:00Z, or 2h (ago);
    /// units are s, m, h, d, times are UTC
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub(crate) since: Option<UnixMillis>,
    /// Only messages quarantined for the first time before this moment
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    pub(crate) until: Option<UnixMillis>,
    /// Only the message with this key; can be repeated
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

/// Which open messages are meant by a command that changes something: it wants to be told.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["all", "reason", "since", "until", "key"]).required(true).multiple(true))]
pub(crate) struct ChosenArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// All open messages
    #[arg(long, conflicts_with_all = ["reason", "since", "until", "key"])]
    pub(crate) all: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A state, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    Open,
    Replayed,
    Discarded,
    All,
}

impl StateArg {
    pub(crate) fn states(self) -> Vec<QuarantineState> {
        match self {
            Self::Open => vec![QuarantineState::Open],
            Self::Replayed => vec![QuarantineState::Replayed],
            Self::Discarded => vec![QuarantineState::Discarded],
            Self::All => QuarantineState::ALL.to_vec(),
        }
    }
}

/// What `quarantine list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
    /// Only messages in this state; can be repeated
    #[arg(long, value_enum, default_value = "open", value_delimiter = ',')]
    pub(crate) state: Vec<StateArg>,
    /// Most messages to list, the newest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

/// What `quarantine show` takes.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The message's key, as `list` shows it
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) private_key: OptionalKeyArgs,
    /// Print the message itself, and nothing else: it holds personal data in clear
    #[arg(long, requires_all = ["private_key", "reason"])]
    pub(crate) reveal_personal_data: bool,
    /// Why the message is looked at: the audit keeps it for ever, so no personal data in it
    #[arg(long, value_name = "TEXT", value_parser = people::reason, requires = "reveal_personal_data")]
    pub(crate) reason: Option<String>,
}

/// Where the private key is, for a command that can do without.
#[derive(Debug, Args)]
pub(crate) struct OptionalKeyArgs {
    /// The file with the private key, see `etl-admin keygen`
    #[arg(long, value_name = "FILE", requires = "reveal_personal_data")]
    pub(crate) private_key: Option<PathBuf>,
    /// Use the private key even if others on this machine may read its file
    #[arg(long)]
    pub(crate) insecure_permissions: bool,
}

/// What `quarantine replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    /// Replay messages whose producer's key is unusable, too, under the queue's ids: an event that was sent twice becomes two
    /// rows
    #[arg(long)]
    pub(crate) by_queue_id: bool,
    /// The file with the private key, see `etl-admin keygen`
    #[arg(long, value_name = "FILE")]
    pub(crate) private_key: PathBuf,
    /// Use the private key even if others on this machine may read its file
    #[arg(long)]
    pub(crate) insecure_permissions: bool,
}

/// What `quarantine discard` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("sure").args(["yes", "dry_run"]).required(true))]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) chosen: ChosenArgs,
    /// Really delete: nobody can bring the bodies back
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What `redrive` takes.
#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The dead-letter queue: its name, or its URL
    #[arg(long, value_name = "QUEUE")]
    pub(crate) from: String,
    /// The queue to send to: its name, or its URL; the one of the configuration if not set
    #[arg(long, value_name = "QUEUE")]
    pub(crate) to: Option<String>,
    /// Most messages to send; required where the queue does not tell how many it holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Say how many messages there are, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn reason(text: &str) -> Result<RejectReason, String> {
    let found = RejectReason::ALL.into_iter().find(|reason| reason.as_str() == text);
    found.ok_or_else(|| {
        let names: Vec<_> = RejectReason::ALL.iter().map(|reason| reason.as_str()).collect();
        format!("expected one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_and_its_help_fits_a_terminal() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(check);
            }
            let is_group = ["quarantine", "policy", "audit", "vault"].contains(&command.get_name());
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(is_group || help.starts_with("Examples:\n  etl-admin "), "{}", command.get_name());
            assert!(help.lines().all(|line| line.chars().count() <= 99), "{}", command.get_name());
        }
        check(&Cli::command());
    }

    #[test]
    fn what_changes_something_wants_to_be_told_which_messages() {
        for (line, fits) in [
            ("etl-admin quarantine discard --yes", false),
            ("etl-admin quarantine discard --all", false),
            ("etl-admin quarantine discard --all --yes", true),
            ("etl-admin quarantine discard --all --key k --yes", false),
            ("etl-admin quarantine discard --key k --dry-run", true),
            ("etl-admin quarantine discard --key k --dry-run --yes", false),
            ("etl-admin quarantine replay --all", false),
            ("etl-admin quarantine replay --private-key k", false),
            ("etl-admin quarantine replay --private-key k --reason wrong_type,too_long", true),
            ("etl-admin quarantine replay --private-key k --reason wrong", false),
            ("etl-admin quarantine show k", true),
            ("etl-admin quarantine show k --reveal-personal-data", false),
            ("etl-admin quarantine show k --private-key f", false),
            ("etl-admin quarantine show k --private-key f --reveal-personal-data", false),
            ("etl-admin quarantine show k --private-key f --reveal-personal-data --reason ticket", true),
            ("etl-admin quarantine show k --reason ticket", false),
            ("etl-admin reveal --row m --reason ticket --private-key f", true),
            ("etl-admin reveal --reason ticket --private-key f", false),
            ("etl-admin reveal --row m --private-key f", false),
            ("etl-admin reveal --row m --user u --reason ticket --private-key f", false),
            ("etl-admin reveal --row m --field ip --reason ticket --private-key f", false),
            ("etl-admin reveal --row m --reason x --private-key f", false),
            ("etl-admin reveal --mask 00 --field ip --reason ticket --private-key f", true),
            ("etl-admin reveal --mask 00 --field locale --reason ticket --private-key f", false),
            ("etl-admin reveal --row m --reason ticket --level exists", true),
            ("etl-admin reveal --row m --reason ticket --level full --private-key f", false),
            (
                "etl-admin reveal --row m --reason ticket --level full --private-key f --reveal-personal-data",
                true,
            ),
            ("etl-admin erase --user u --reason ticket", false),
            ("etl-admin erase --user u --yes", false),
            ("etl-admin erase --user u --reason ticket --yes", true),
            ("etl-admin erase --user u --reason ticket --dry-run", true),
            ("etl-admin erase --user u --reason ticket --dry-run --yes", false),
            ("etl-admin erase --user u --reason ticket --yes --lift", true),
            ("etl-admin vault prune --reason retention", false),
            ("etl-admin vault prune --yes", false),
            ("etl-admin vault prune --reason retention --yes", true),
            ("etl-admin vault prune --reason retention --dry-run", true),
            ("etl-admin vault prune --reason retention --yes --dry-run", false),
            ("etl-admin audit verify", true),
            ("etl-admin audit verify --expect-head 17", false),
            ("etl-admin keygen", true),
            ("etl-admin keygen master", true),
            ("etl-admin keygen --private-key f master", false),
            ("etl-admin keygen master --add-to f", true),
            ("etl-admin keygen master --add-to f --out g", false),
            ("etl-admin keygen master --add-to f --after-sha512", false),
            ("etl-admin policy set", false),
            ("etl-admin policy set --yes --dry-run", false),
            ("etl-admin policy set --yes", true),
        ] {
            assert_eq!(Cli::try_parse_from(line.split(' ')).is_ok(), fits, "{line}");
        }
    }
}
