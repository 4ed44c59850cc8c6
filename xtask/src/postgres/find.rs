//! Servers that run already.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::probe::{self, Answer};
use super::url::{self, Address};
use super::{Postgres, Provider};
use crate::Result;

/// The server that DATABASE_URL names.
pub(super) struct FromUrl;

impl Provider for FromUrl {
    fn name(&self) -> &'static str {
        "DATABASE_URL"
    }

    /// User and password are taken as they are: whether they are right, the first test tells better than we could.
    fn provide(&self) -> Result<(Postgres, String)> {
        let url = match env::var("DATABASE_URL") {
            Ok(url) if !url.is_empty() => url,
            Ok(_) | Err(env::VarError::NotPresent) => return Err("not set".into()),
            Err(env::VarError::NotUnicode(_)) => return Err("is not valid UTF-8".into()),
        };
        let place = match url::address(&url)? {
            Address::Tcp(host, port) => {
                connect(&host, port)
                    .map_err(|error| format!("nothing answers at {host}:{port} ({error})"))?;
                format!("{host}:{port}")
            }
            Address::Socket(path) => {
                let shown = path.display().to_string();
                UnixStream::connect(path).map_err(|error| format!("nothing answers at {shown} ({error})"))?;
                shown
            }
        };
        Ok((Postgres::found(url), format!("{place} answers")))
    }
}

fn connect(host: &str, port: u16) -> std::io::Result<()> {
    let mut last = std::io::ErrorKind::AddrNotAvailable.into();
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A server on the usual port that trusts whoever comes from this machine.
pub(super) struct Local;

impl Provider for Local {
    fn name(&self) -> &'static str {
        "127.0.0.1:5432"
    }

    fn provide(&self) -> Result<(Postgres, String)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5432));
        match probe::ask(address).map_err(|error| format!("nothing answers ({error})"))? {
            Answer::Welcome { version } => Ok((
                Postgres::found(format!("postgres://postgres@{address}/postgres")),
                format!("PostgreSQL {version} lets user postgres in"),
            )),
            Answer::PasswordWanted => Err("wants a password (set DATABASE_URL to use it)".into()),
            Answer::Refused(reason) => Err(format!("refuses user postgres: {reason}").into()),
            Answer::NotPostgres => Err("is not a Postgres".into()),
        }
    }
}
