//! The little of a Postgres URL that is needed to see whether anything answers there.

use std::path::PathBuf;

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp(String, u16),
    Socket(PathBuf),
}

/// The address in `postgres://user:password@host:port/database?host=/run/postgresql`, libpq's rules and defaults.
/// The error never holds the URL: it may have a password in it.
pub(super) fn address(url: &str) -> Result<Address, &'static str> {
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or("is not a postgres:// URL")?;
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before_query.split('/').next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = split_port(host_and_port)?;
    let parameter = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let port = parameter("port").or(port).unwrap_or("5432").parse().map_err(|_| "has no valid port")?;
    let host =
        decode(parameter("host").unwrap_or(host)).ok_or("has a host that is not valid percent-encoding")?;
    Ok(match host.as_str() {
        "" => Address::Tcp("localhost".into(), port),
        socket if socket.starts_with('/') => Address::Socket(format!("{socket}/.s.PGSQL.{port}").into()),
        _ => Address::Tcp(host, port),
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or("has an unclosed [")?;
        return Ok((host, after.strip_prefix(':')));
    }
    Ok(text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))))
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Address, &'static str> {
        Ok(Address::Tcp(host.into(), port))
    }

    #[test]
    fn hosts_and_ports() {
        for (url, expected) in [
            ("postgres://db.example/etl", tcp("db.example", 5432)),
            ("postgresql://u:p%40ss:w@db.example:6000/etl?sslmode=require", tcp("db.example", 6000)),
            ("postgres://u:p@ss@h:1/", tcp("h", 1)),
            ("postgres://u@[::1]:5433/etl", tcp("::1", 5433)),
            ("postgres://[::1]", tcp("::1", 5432)),
            ("postgres:///etl", tcp("localhost", 5432)),
            ("postgres://h/etl?port=7000&host=other", tcp("other", 7000)),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }

    #[test]
    fn sockets() {
        let expected = Ok(Address::Socket("/run/postgresql/.s.PGSQL.5433".into()));
        assert_eq!(address("postgres://u@%2Frun%2Fpostgresql:5433/etl"), expected);
        assert_eq!(address("postgres://u@/etl?port=5433&host=/run/postgresql"), expected);
    }

    #[test]
    fn what_is_refused() {
        for url in [
            "",
            "sqlite://x.db",
            "mysql://h/d",
            "postgres://h:port/d",
            "postgres://[::1/d",
            "postgres://%2/d",
        ] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
