//! The commands about stored masks as a whole: which policy is in force, and with which key they are made.

use clap::{ArgGroup, Args, Subcommand};
use etl_worker::cli::ConfigArgs;

/// What `rotate` takes.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Take rows without a key's id, from before this program, as masked with plain SHA-512 (the ring must begin with 0:sha512)
    #[arg(long)]
    pub(crate) unnamed_are_sha512: bool,
    /// Put a key in force whose id rows have already, because they were masked with this very key (and these methods)
    #[arg(long)]
    pub(crate) reuse_key_id: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What can be done with the policy.
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the masking policy in force
    #[command(after_help = "\
Examples:
  etl-admin policy show --config etl.toml")]
    Show(PolicyShowArgs),
    /// Put the policy of a configuration file in force, whatever the rows were masked with
    #[command(after_help = "\
Examples:
  etl-admin policy set --config etl.toml --dry-run
  etl-admin policy set --config etl.toml --yes

From then on workers with the old policy write nothing more: they stop, or go on under the new one
if their configuration has it. Rows that are stored keep their masks: values are equal only where
masks were made alike. For another key, etl-admin rotate brings the rows up to it instead.

A key's id is all that tells the masks of rows apart. So a key under an id that rows have, which is
not the key in force, is refused: rotate to it, or give it an id that no row has, as a line ID:KEY.
The same holds for a field that goes from one kind of digests to another (hmac-sha512, ip-prefix,
sha512). To go back to a key that was in force before, --reuse-key-id says that it is the very one;
the id of the key in force is never given to another one.")]
    Set(PolicySetArgs),
}

/// What `policy show` takes.
#[derive(Debug, Args)]
pub(crate) struct PolicyShowArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// What `policy set` takes.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("sure").args(["yes", "dry_run"]).required(true))]
pub(crate) struct PolicySetArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Really put it in force
    #[arg(long)]
    pub(crate) yes: bool,
    /// Put a key in force whose id rows have already, because they were masked with this very key (and these methods)
    #[arg(long)]
    pub(crate) reuse_key_id: bool,
    /// Say what is different, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
