//! Cleaning up that happens however this process ends.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that waits until this process is gone or drops the guardian, and then runs its script.
///
/// It notices the end by its standard input being closed, which the kernel does after Ctrl-C, a panic or `kill -9` just
/// as after a normal end; no signal handler could promise that. It is in a process group of its own, so that Ctrl-C
/// does not reach it.
#[derive(Debug)]
pub struct Guardian {
    shell: Child,
    alive: Option<ChildStdin>,
}

impl Guardian {
    /// `script` sees `args` as `$1`, `$2`, …; `prepare` may set the shell's user or environment.
    ///
    /// # Errors
    /// There is no shell.
    pub fn start<S: AsRef<OsStr>>(
        script: &str,
        args: impl IntoIterator<Item = S>,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("trap '' INT TERM HUP\nwhile read -r _; do :; done\n{script}"))
            .arg("guardian")
            .args(args)
            .current_dir("/")
            .stdin(Stdio::piped())
            .process_group(0);
        prepare(&mut command);
        let mut shell = command.spawn()?;
        let alive = shell.stdin.take();
        Ok(Self { shell, alive })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.alive.take());
        // Waiting can only fail if the shell is not our child; it is, and its script is run either way.
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn the_script_runs_when_the_guardian_is_dropped_and_not_before() {
        let path = env::temp_dir().join(format!("fetch-etl-guardian-{}", process::id()));
        fs::write(&path, "").unwrap();
        let guardian = Guardian::start("rm \"$1\"", [&path], |_| {}).unwrap();
        assert!(path.exists());
        drop(guardian);
        assert!(!path.exists());
    }
}
