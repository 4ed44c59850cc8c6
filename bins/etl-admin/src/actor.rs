//! Who works here: what this machine says, for the audit. The database adds the role, which it knows for sure.

use std::env;

use etl_worker::failure::Failure;
use fetch_etl_postgres::AuditEvent;
use rustix::process::getuid;
use rustix::system::uname;

/// Most characters of a name.
const MAX_CHARS: usize = 128;

/// A user of a machine.
pub(crate) struct Actor {
    pub(crate) os_user: String,
    pub(crate) host: String,
}

impl Actor {
    /// The user who runs this. The number is the system's word; the name is the environment's, for there may be many who share a
    /// number: with sudo, it is the name of who called it.
    pub(crate) fn of_this_process() -> Self {
        let names = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(|name| env::var(name).ok());
        let name = names.map(|name| clean(&name)).find(|name| !name.is_empty());
        let uid = getuid().as_raw();
        let os_user = name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"));
        Self { os_user, host: clean(&uname().nodename().to_string_lossy()) }
    }

    /// What this user is about to do.
    pub(crate) fn event<'a>(&'a self, action: &'a str, subject: &'a str, reason: &'a str) -> AuditEvent<'a> {
        let Self { os_user, host } = self;
        AuditEvent { os_user, host: Some(host), action, reason, subject, level: None, entries: 0 }
    }
}

/// Why nothing is `done` ("shown", "opened"): it could not be said in the audit before.
pub(crate) fn unsaid(done: &str, failure: Failure) -> Failure {
    let text = format!("nothing is {done}, for the audit could not be written: {failure}");
    Failure { text, ..failure }
}

fn clean(name: &str) -> String {
    name.trim().chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_of_one_line() {
        assert_eq!(clean(" ann\n\x1b[2J "), "ann[2J");
        assert_eq!(clean(&"é".repeat(200)).chars().count(), MAX_CHARS);
        let actor = Actor::of_this_process();
        assert!(actor.os_user.contains(&format!("uid {}", getuid().as_raw())), "{}", actor.os_user);
    }
}
