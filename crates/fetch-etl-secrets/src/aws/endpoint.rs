//! Addresses of services.

use http::Uri;

/// Domains of AWS itself, of all its partitions that are open to the public.
const AWS_DOMAINS: [&str; 4] = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws"];

/// Where a service answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    url: String,
    host: String,
    https: bool,
}

impl Endpoint {
    /// Reads an endpoint's URL, or says what is wrong. It is not quoted then: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        const NOT_HTTP: &str = "the endpoint URL is no http:// or https:// URL";
        const HAS_QUERY: &str = "the endpoint URL holds a ? or #";
        if url.contains('#') {
            return Err(HAS_QUERY);
        }
        let uri: Uri = url.parse().map_err(|_| NOT_HTTP)?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(NOT_HTTP),
        };
        let authority = uri.authority().ok_or(NOT_HTTP)?;
        if authority.as_str().contains('@') {
            return Err("the endpoint URL holds a user name or password, which AWS does not know");
        }
        if uri.query().is_some() {
            return Err(HAS_QUERY);
        }
        // Read here, because `http` lets "host:" and "host:99999" pass as having no port.
        let port = authority.as_str().strip_prefix(authority.host()).ok_or(NOT_HTTP)?;
        if !port.is_empty() && port.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).is_none() {
            return Err(NOT_HTTP);
        }
        Ok(Self { url: url.to_owned(), host: authority.host().to_ascii_lowercase(), https })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn is_https(&self) -> bool {
        self.https
    }

    /// Whether AWS itself answers here, or an interface endpoint of AWS in somebody's network.
    pub(super) fn is_aws(&self) -> bool {
        AWS_DOMAINS.iter().any(|domain| self.host.ends_with(domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_http_urls_without_secrets() {
        for (url, https, aws) in [
            ("http://127.0.0.1:4566", false, false),
            ("http://[::1]:4566/", false, false),
            ("http://moto", false, false),
            ("https://secretsmanager.eu-west-1.amazonaws.com", true, true),
            ("https://vpce-1-2.kms.eu-west-3.vpce.AMAZONAWS.com", true, true),
            ("https://amazonaws.com.example.org", true, false),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.url(), endpoint.is_https(), endpoint.is_aws()), (url, https, aws));
        }
        let (not_http, query) = ("no http:// or https:// URL", "a ? or #");
        for (url, problem) in [
            ("", not_http),
            ("localhost:4566", not_http),
            ("ftp://hunter2", not_http),
            ("http://", not_http),
            ("http://host:", not_http),
            ("http://host:99999", not_http),
            ("http://user:hunter2@host", "a user name or password"),
            ("http://host?x=hunter2", query),
            ("http://host/#hunter2", query),
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(error.contains(problem) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
