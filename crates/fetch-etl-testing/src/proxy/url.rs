//! The two things to do with a database's URL: find the server, and put another in its place.

const DEFAULT_PORT: &str = "5432";
/// Parameters that would lead past the proxy, or ask for what it does not offer.
const OVERRULED: [&str; 5] = ["host", "hostaddr", "port", "sslmode", "ssl-mode"];

/// A URL in the parts that matter.
struct Parts<'a> {
    /// `postgres://user:password@`
    before: &'a str,
    host: &'a str,
    /// `/database`
    path: &'a str,
    /// Without the `?`.
    query: Option<&'a str>,
}

fn parts(url: &str) -> Option<Parts<'_>> {
    let (scheme, after) = url.split_once("://")?;
    if !matches!(scheme, "postgres" | "postgresql") {
        return None;
    }
    let (authority, path_and_query) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
    let user = authority.rfind('@').map_or(0, |at| at + 1);
    let host = authority.get(user..)?;
    let before = url.get(..scheme.len() + "://".len() + user)?;
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    Some(Parts { before, host, path, query })
}

/// `host:port` of the server; `None` if the URL is not one of a server to be reached over TCP.
pub(super) fn address(url: &str) -> Option<String> {
    let Parts { host, query, .. } = parts(url)?;
    let elsewhere =
        query.is_some_and(|query| parameters(query).any(|(name, _)| OVERRULED[..3].contains(&name)));
    // Percent signs are how a socket's path is written.
    if elsewhere || host.is_empty() || host.contains([',', '%']) {
        return None;
    }
    let has_port = host.rfind(':').is_some_and(|colon| !host.ends_with(']') && colon + 1 < host.len());
    Some(if has_port { host.to_owned() } else { format!("{}:{DEFAULT_PORT}", host.trim_end_matches(':')) })
}

/// The same URL, but leading to `address`, where encryption is turned down. `None` if it is not a URL of a Postgres.
pub(super) fn redirected(url: &str, address: &str) -> Option<String> {
    let Parts { before, path, query, .. } = parts(url)?;
    let kept = query.into_iter().flat_map(parameters).filter(|(name, _)| !OVERRULED.contains(name));
    let query: String = kept.map(|(_, parameter)| format!("&{parameter}")).collect();
    Some(format!("{before}{address}{path}?sslmode=prefer{query}"))
}

/// The parameters by name, each with its whole text.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let named = |parameter| (str::split_once(parameter, '=').map_or(parameter, |(name, _)| name), parameter);
    query.split('&').filter(|parameter| !parameter.is_empty()).map(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found() {
        for (url, expected) in [
            ("postgres://u:p%40@h:1/d?x=1", Some("h:1")),
            ("postgresql://h/d", Some("h:5432")),
            ("postgres://u@[::1]/d", Some("[::1]:5432")),
            ("postgres://[::1]:7", Some("[::1]:7")),
            ("postgres://h:?sslmode=require", Some("h:5432")),
            ("postgres:///d?host=/run/postgresql", None),
            ("postgres://h/d?host=other", None),
            ("postgres://%2Frun/d", None),
            ("postgres://a,b/d", None),
            ("http://h/d", None),
            ("h:1/d", None),
        ] {
            assert_eq!(address(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn the_server_is_replaced_and_little_else() {
        for (url, expected) in [
            ("postgres://u:p@h:1/d", "postgres://u:p@new:2/d?sslmode=prefer"),
            ("postgres://h", "postgres://new:2?sslmode=prefer"),
            ("postgres://u@/d?a=1&sslmode=require&b", "postgres://u@new:2/d?sslmode=prefer&a=1&b"),
            ("postgres:///d?host=/run&port=3", "postgres://new:2/d?sslmode=prefer"),
        ] {
            assert_eq!(redirected(url, "new:2").as_deref(), Some(expected), "{url}");
        }
        assert_eq!(redirected("mysql://h/d", "new:2"), None);
    }
}
