//! A throw-away Postgres cluster: made with the server binaries on this machine, open to this machine only, and removed however
//! the process that made it ends.
//!
//! A server that others share cannot be stopped, be switched to read-only or have its files read. This one can:
//!
//! ```no_run
//! # fn main() -> fetch_etl_scratch_postgres::Result<()> {
//! use fetch_etl_scratch_postgres::{Binaries, Cluster, Durability, Shutdown};
//!
//! let binaries = Binaries::find().ok_or("no Postgres server on this machine")?;
//! let cluster = Cluster::start(&binaries, Durability::Full)?;
//! println!("{}", cluster.url()); // postgres://postgres@127.0.0.1:41234/postgres
//! cluster.restart(Shutdown::Immediate)?; // as after a crash, on the same port
//! # Ok(())
//! # }
//! ```
//!
//! Nothing but the standard library, so that whatever needs a Postgres for tests can start one, xtask included.

mod binaries;
mod cluster;
mod guardian;
mod user;

pub use binaries::Binaries;
pub use cluster::{Cluster, Durability, Shutdown};
pub use guardian::Guardian;
pub use user::is_root;

/// An error is one message for a person: nothing here is handled by kind.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs to the end in silence. The last line on stderr becomes the reason of a failure.
fn run(command: &mut std::process::Command) -> Result<String> {
    use std::process::Stdio;
    let program = command.get_program().to_string_lossy().into_owned();
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot start {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Err(format!("{program} failed: {}", reason.unwrap_or("it does not say why")).into())
}
