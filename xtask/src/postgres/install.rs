//! The last resort: the distribution's own package.

use std::path::Path;

use fetch_etl_scratch_postgres::is_root;

use super::{Postgres, Provider, ThrowAway};
use crate::{Result, cargo, say};

/// `apt-get install postgresql`, then a throw-away cluster.
pub(super) struct Install;

impl Provider for Install {
    fn name(&self) -> &'static str {
        "package postgresql"
    }

    fn provide(&self) -> Result<(Postgres, String)> {
        package()?;
        ThrowAway.provide()
    }
}

/// Installs it.
pub(super) fn package() -> Result<()> {
    if !Path::new("/etc/debian_version").exists() || !cargo::on_path("apt-get") {
        return Err("this is not Debian or Ubuntu".into());
    }
    if !is_root()? {
        return Err("only root can install it".into());
    }
    say("postgres", "installing the package postgresql, which stays installed");
    apt_get(&["update"])?;
    apt_get(&["install", "--yes", "--no-install-recommends", "postgresql"])
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut command = cargo::command("apt-get");
    command.arg("--quiet=2").args(args).env("DEBIAN_FRONTEND", "noninteractive");
    cargo::quiet(&mut command).map(drop)
}
