//! As whom the server runs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::{Result, run};

/// Somebody other than root, as whom the server agrees to run.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// Nobody else if we are not root.
    pub(crate) fn for_server() -> Result<Option<Self>> {
        if !is_root()? {
            return Ok(None);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(Self::named)
            .map(Some)
            .ok_or_else(|| "we are root, and there is no user postgres or nobody to run the server as".into())
    }

    fn named(name: &'static str) -> Option<Self> {
        Some(Self { name, uid: id(&["-u", name]).ok()?, gid: id(&["-g", name]).ok()? })
    }

    pub(crate) fn become_in(user: Option<&Self>, command: &mut Command) {
        if let Some(user) = user {
            command.uid(user.uid).gid(user.gid);
        }
    }
}

/// Whether we are root.
///
/// # Errors
/// The program `id` cannot say.
pub fn is_root() -> Result<bool> {
    Ok(id(&["-u"])? == 0)
}

fn id(args: &[&str]) -> Result<u32> {
    Ok(run(Command::new("id").args(args))?.trim().parse()?)
}
