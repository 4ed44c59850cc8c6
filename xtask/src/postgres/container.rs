//! A throw-away container.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use fetch_etl_scratch_postgres::Guardian;

use super::probe::{self, Answer};
use super::{Postgres, Provider};
use crate::{Result, cargo};

/// The version that docker-compose.yml has, too.
const IMAGE: &str = "postgres:17";
const PATIENCE: Duration = Duration::from_secs(90);

/// A container by whichever engine runs here.
pub(super) struct Container;

impl Provider for Container {
    fn name(&self) -> &'static str {
        "container"
    }

    fn provide(&self) -> Result<(Postgres, String)> {
        let engine = ["docker", "podman"]
            .into_iter()
            .find(|engine| cargo::quiet(Command::new(engine).arg("info")).is_ok())
            .ok_or("neither Docker nor Podman runs here")?;
        let name = format!("fetch-etl-postgres-{}", process::id());
        // Before the container, so that an interrupted start is cleaned up after, too.
        let remove = "\"$1\" rm --force --volumes \"$2\" >/dev/null 2>&1";
        let guardian = Guardian::start(remove, [engine, &name], |_| {})?;
        cargo::stdout_of(&mut run_command(engine, &name))?;
        let mapping = cargo::quiet(Command::new(engine).args(["port", &name, "5432/tcp"]))?;
        let port = published_port(&mapping).ok_or("the engine did not say which port it published")?;
        wait_until_it_answers(port)?;
        let what = format!("started {IMAGE} by {engine} on port {port}");
        let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
        Ok((Postgres::started(url, guardian), what))
    }
}

fn run_command(engine: &str, name: &str) -> Command {
    let mut command = Command::new(engine);
    command.args(["run", "--rm", "--detach", "--name", name, "--publish", "127.0.0.1::5432"]);
    command.args(["--env", "POSTGRES_HOST_AUTH_METHOD=trust", IMAGE]);
    command.args(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"]);
    command
}

/// The port in `127.0.0.1:49153`, one line for each address.
fn published_port(mapping: &str) -> Option<u16> {
    mapping.lines().find_map(|line| line.trim().rsplit_once(':')?.1.parse().ok())
}

/// The image starts and stops a private server to set itself up, which does not listen on TCP: who answers there is the
/// real one.
fn wait_until_it_answers(port: u16) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = probe::ask(address);
        if matches!(answer, Ok(Answer::Welcome { .. })) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(
                format!("the container does not answer within {} s: {answer:?}", PATIENCE.as_secs()).into()
            );
        }
        thread::sleep(Duration::from_millis(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_port_is_read() {
        assert_eq!(published_port("127.0.0.1:49153\n"), Some(49153));
        assert_eq!(published_port("[::1]:49154\n127.0.0.1:49153\n"), Some(49154));
        assert_eq!(published_port(""), None);
        assert_eq!(published_port("no mapping"), None);
    }
}
