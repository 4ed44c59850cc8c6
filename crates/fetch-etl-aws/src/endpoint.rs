//! Addresses of services.

use std::fmt;

use http::Uri;

/// Domains of AWS itself, of all its partitions that are open to the public.
const AWS_DOMAINS: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws"];

/// What is wrong with an address. It is not quoted anywhere: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUrl {
    /// Not `http://host…` or `https://host…`.
    NotHttp,
    /// A user name or password in front of the host.
    HoldsCredentials,
    /// A query or fragment.
    HoldsQuery,
}

/// Where a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    url: String,
    host: String,
    port: u16,
    https: bool,
}

impl Endpoint {
    /// Reads an endpoint's URL.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        if url.contains('#') {
            return Err(InvalidUrl::HoldsQuery);
        }
        let uri: Uri = url.parse().map_err(|_| InvalidUrl::NotHttp)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(InvalidUrl::NotHttp),
        };
        let authority = uri.authority().ok_or(InvalidUrl::NotHttp)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::HoldsCredentials);
        }
        if uri.query().is_some() {
            return Err(InvalidUrl::HoldsQuery);
        }
        // Read here, because `http` lets "host:" and "host:99999" pass as having no port.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") if https => Ok(443),
            Some("") => Ok(80),
            rest => rest.and_then(|rest| rest.strip_prefix(':')).unwrap_or_default().parse(),
        };
        let port = port.map_err(|_| InvalidUrl::NotHttp)?;
        let host = authority.host().to_ascii_lowercase();
        Ok(Self { url: url.to_owned(), host, port, https })
    }

    /// The same service, without the path that its URL has, such as that of a queue.
    #[must_use]
    pub fn without_path(self) -> Self {
        let after_scheme = self.url.split_once("//").map_or("", |(_, rest)| rest);
        let authority = after_scheme.split('/').next().unwrap_or_default();
        let scheme = if self.https { "https" } else { "http" };
        Self { url: format!("{scheme}://{authority}"), ..self }
    }

    /// As it was given.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether connections to it are encrypted.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether AWS itself answers here, or an interface endpoint of AWS in somebody's network.
    pub fn is_aws(&self) -> bool {
        AWS_DOMAINS.iter().any(|domain| self.host.ends_with(domain))
    }

    /// The region that the host's name states, where it is AWS's.
    pub fn aws_region(&self) -> Option<&str> {
        if !self.is_aws() {
            return None;
        }
        let legacy = (self.host == "queue.amazonaws.com").then_some("us-east-1");
        self.host.split('.').find(|label| looks_like_region(label)).or(legacy)
    }
}

/// The address alone, as in "cannot reach …".
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`.
fn looks_like_region(label: &str) -> bool {
    let mut parts: Vec<_> = label.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let is = |part: &str, kind: fn(&u8) -> bool| !part.is_empty() && part.bytes().all(|b| kind(&b));
    // An interface endpoint's own id has dashes too.
    parts.len() >= 2
        && parts[0] != "vpce"
        && is(number, u8::is_ascii_digit)
        && parts.iter().all(|part| is(part, u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_http_urls_without_secrets() {
        for (url, shown) in [
            ("http://127.0.0.1:9324", "127.0.0.1:9324"),
            ("http://LocalHost:4566/", "localhost:4566"),
            ("http://[::1]:9324", "[::1]:9324"),
            ("https://sqs.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com:443"),
            ("http://elasticmq", "elasticmq:80"),
        ] {
            assert_eq!(Endpoint::parse(url).map(|endpoint| endpoint.to_string()).as_deref(), Ok(shown));
        }
        for (url, problem) in [
            ("", InvalidUrl::NotHttp),
            ("localhost:9324", InvalidUrl::NotHttp),
            ("ftp://host", InvalidUrl::NotHttp),
            ("http://", InvalidUrl::NotHttp),
            ("http://host:", InvalidUrl::NotHttp),
            ("http://host:99999", InvalidUrl::NotHttp),
            ("http://ho st", InvalidUrl::NotHttp),
            ("http://user:hunter2@host", InvalidUrl::HoldsCredentials),
            ("http://host?x=1", InvalidUrl::HoldsQuery),
            ("http://host/#x", InvalidUrl::HoldsQuery),
        ] {
            assert_eq!(Endpoint::parse(url), Err(problem), "{url}");
        }
    }

    #[test]
    fn the_path_can_be_left_out() {
        for (url, service) in [
            ("http://localhost:4566/000000000000/login-queue", "http://localhost:4566"),
            ("http://[::1]:9324/queue/q", "http://[::1]:9324"),
            ("https://host", "https://host"),
        ] {
            assert_eq!(Endpoint::parse(url).unwrap().without_path().url(), service);
        }
    }

    #[test]
    fn regions_are_read_off_aws_hosts_only() {
        for (host, is_aws, region) in [
            ("sqs.eu-west-1.amazonaws.com", true, Some("eu-west-1")),
            ("eu-west-1.queue.amazonaws.com", true, Some("eu-west-1")),
            ("queue.amazonaws.com", true, Some("us-east-1")),
            ("sqs.cn-north-1.amazonaws.com.cn", true, Some("cn-north-1")),
            ("sqs-fips.us-gov-west-1.amazonaws.com", true, Some("us-gov-west-1")),
            ("sqs.ap-southeast-2.api.aws", true, Some("ap-southeast-2")),
            ("sqs.eusc-de-east-1.amazonaws.eu", true, Some("eusc-de-east-1")),
            ("vpce-abc-123.sqs.eu-west-3.vpce.amazonaws.com", true, Some("eu-west-3")),
            ("amazonaws.com.example.org", false, None),
            ("sqs.us-east-1.localhost.localstack.cloud", false, None),
            ("localhost", false, None),
        ] {
            let endpoint = Endpoint::parse(&format!("https://{host}")).unwrap();
            assert_eq!((endpoint.is_aws(), endpoint.aws_region()), (is_aws, region), "{host}");
        }
    }
}
