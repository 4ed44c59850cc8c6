//! The cluster.

use std::env;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, chown};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::user::User;
use crate::{Binaries, Guardian, Result, run};

/// A free port can be taken by somebody else before the server has it.
const TRIES: usize = 3;

/// Open to this machine only.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
";

/// What a test of anything but durability wants.
const FORGETFUL: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
";

/// What a crash of the server may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The newest commits, for speed.
    Forgetful,
    /// Nothing: the settings that a server has unless told otherwise.
    Full,
}

/// How a server is stopped; the names are Postgres's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Sessions are ended, and what they had not committed with them.
    Fast,
    /// As if it crashed: the next start recovers from the log.
    Immediate,
}

impl Shutdown {
    const fn mode(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A running cluster. It is stopped and removed when this is dropped, and also when this process is killed.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    home: PathBuf,
    port: u16,
    user: Option<User>,
    _guardian: Guardian,
}

impl Cluster {
    /// Makes a cluster that trusts whoever comes from this machine, and starts its server on a free port. As root it runs as the
    /// user `postgres`, else `nobody`, because the server refuses to be root.
    ///
    /// # Errors
    /// The programs fail; the message holds the last line that they wrote.
    pub fn start(binaries: &Binaries, durability: Durability) -> Result<Self> {
        let user = User::for_server()?;
        let home = new_directory(user.as_ref())?;
        // From here on the guardian removes it all, also if the next step fails or is interrupted.
        let guardian = Guardian::start(
            "if [ -f \"$2/data/postmaster.pid\" ]; then \"$1/pg_ctl\" -D \"$2/data\" -m immediate stop >/dev/null; fi\n\
             rm -rf \"$2\"",
            [binaries.directory(), &home],
            |shell| User::become_in(user.as_ref(), shell),
        )?;
        let mut cluster = Self { binaries: binaries.clone(), home, port: 0, user, _guardian: guardian };
        let options = ["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"];
        run(cluster.command("initdb").args(options))?;
        cluster.configure(SETTINGS)?;
        if durability == Durability::Forgetful {
            cluster.configure(FORGETFUL)?;
        }
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    fn start_on_free_port(&mut self) -> Result<()> {
        for tries in 1..=TRIES {
            self.port = free_port()?;
            match self.start_again() {
                Err(error) if tries == TRIES => return Err(error),
                Err(_) => {}
                Ok(()) => break,
            }
        }
        Ok(())
    }

    /// The URL of the database `postgres`, as a superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The port, which stays the same for good.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the server's programs are.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// As whom the server runs, where that is somebody else.
    pub fn runs_as(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.name)
    }

    /// The server's files, the write-ahead log among them.
    pub fn data_directory(&self) -> PathBuf {
        self.home.join("data")
    }

    /// What the server logs.
    pub fn log_file(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Adds lines to `postgresql.conf`, which count from the next [`reload`](Self::reload) or start on. A later line wins.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let mut file = OpenOptions::new().append(true).open(self.data_directory().join("postgresql.conf"))?;
        Ok(file.write_all(lines.as_bytes())?)
    }

    /// Replaces the rules about who is let in and how, `pg_hba.conf`, which count from the next [`reload`](Self::reload) on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn let_in(&self, rules: &str) -> Result<()> {
        Ok(fs::write(self.data_directory().join("pg_hba.conf"), rules)?)
    }

    /// Lets the server read its configuration again.
    ///
    /// # Errors
    /// It does not run.
    pub fn reload(&self) -> Result<()> {
        run(self.command("pg_ctl").arg("reload")).map(drop)
    }

    /// Stops the server, and returns once it has stopped.
    ///
    /// # Errors
    /// It does not run, or does not stop within a minute.
    pub fn stop(&self, how: Shutdown) -> Result<()> {
        run(self.command("pg_ctl").args(["-w", "-t", "60", "-m", how.mode(), "stop"])).map(drop)
    }

    /// Starts the server again after a [`stop`](Self::stop), and returns once it lets clients in.
    ///
    /// # Errors
    /// It does not start; the message holds the last line of its log.
    pub fn start_again(&self) -> Result<()> {
        let mut pg_ctl = self.command("pg_ctl");
        // `-w` waits until the server accepts connections. Its output goes nowhere, because the server inherits it and
        // would keep a pipe open for as long as it lives.
        pg_ctl.arg("-l").arg(self.log_file());
        pg_ctl.args(["-w", "-t", "60", "-o", &format!("-p {}", self.port), "start"]);
        pg_ctl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if pg_ctl.status()?.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        Err(format!("the server does not start: {}", log.lines().last().unwrap_or("it wrote no log")).into())
    }

    /// Stops the server and starts it again on the same port.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub fn restart(&self, how: Shutdown) -> Result<()> {
        self.stop(how)?;
        self.start_again()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.program(program));
        command.current_dir(&self.home).arg("-D").arg(self.data_directory());
        User::become_in(self.user.as_ref(), &mut command);
        command
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn new_directory(owner: Option<&User>) -> Result<PathBuf> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let path = env::temp_dir().join(format!("fetch-etl-postgres-{}-{nanos}", process::id()));
    DirBuilder::new().mode(0o700).create(&path)?;
    if let Some(owner) = owner {
        chown(&path, Some(owner.uid), Some(owner.gid))?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::net::TcpStream;

    use super::*;

    /// Where there are no server binaries, xtask's other providers serve the tests, and nothing here can be shown.
    fn cluster() -> Option<Cluster> {
        let binaries = Binaries::find().or_else(|| {
            eprintln!("not shown: there are no Postgres server binaries on this machine");
            None
        })?;
        Some(Cluster::start(&binaries, Durability::Forgetful).unwrap())
    }

    fn answers(cluster: &Cluster) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.port())).is_ok()
    }

    #[test]
    fn it_stops_starts_again_on_its_port_and_leaves_nothing() {
        let Some(cluster) = cluster() else { return };
        let home = cluster.home.clone();
        assert!(answers(&cluster));
        for how in [Shutdown::Immediate, Shutdown::Fast] {
            cluster.stop(how).unwrap();
            assert!(!answers(&cluster), "{how:?}");
            cluster.start_again().unwrap();
            assert!(answers(&cluster), "{how:?}");
        }
        let log = fs::read_to_string(cluster.log_file()).unwrap();
        assert!(log.contains("automatic recovery in progress"), "an immediate stop is a crash: {log}");
        let port = cluster.port();
        drop(cluster);
        assert!(!home.exists());
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    }

    #[test]
    fn its_configuration_can_be_changed_while_it_runs() {
        let Some(cluster) = cluster() else { return };
        cluster.configure("log_min_messages = debug1\n").unwrap();
        cluster.let_in("host all all 127.0.0.1/32 reject\n").unwrap();
        cluster.reload().unwrap();
        let logged = |text: &str| fs::read_to_string(cluster.log_file()).unwrap().contains(text);
        // The reload is a signal: what it did shows in the log a moment later.
        let seen = iter::repeat_with(|| std::thread::sleep(std::time::Duration::from_millis(10)))
            .take(1_000)
            .any(|()| logged("parameter \"log_min_messages\" changed to \"debug1\""));
        assert!(seen);
    }
}
