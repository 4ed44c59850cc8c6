//! Addresses of queues and of services that speak SQS.

use std::fmt;

use fetch_etl_aws::Endpoint;

/// What is wrong with an address. It is not quoted anywhere: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// Not `http://host…` or `https://host…`.
    NotHttp,
    /// A user name or password in front of the host.
    HoldsCredentials,
    /// A query or fragment.
    HoldsQuery,
    /// A queue's URL without a path.
    NamesNoQueue,
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "is no http:// or https:// URL",
            Self::HoldsCredentials => "holds a user name or password, which SQS does not know",
            Self::HoldsQuery => "holds a ? or #",
            Self::NamesNoQueue => "ends before the queue's name",
        })
    }
}

impl From<fetch_etl_aws::InvalidUrl> for InvalidUrl {
    fn from(problem: fetch_etl_aws::InvalidUrl) -> Self {
        match problem {
            fetch_etl_aws::InvalidUrl::NotHttp => Self::NotHttp,
            fetch_etl_aws::InvalidUrl::HoldsCredentials => Self::HoldsCredentials,
            fetch_etl_aws::InvalidUrl::HoldsQuery => Self::HoldsQuery,
        }
    }
}

/// Reads an endpoint's URL.
pub(crate) fn parse(url: &str) -> Result<Endpoint, InvalidUrl> {
    Ok(Endpoint::parse(url)?)
}

/// Reads a queue's URL and returns the service it is at.
pub(crate) fn of_queue(url: &str) -> Result<Endpoint, InvalidUrl> {
    let service = parse(url)?.without_path();
    // All that is behind the host: a URL that could be read has a scheme and a host.
    let path = url.split_once("//").and_then(|(_, rest)| rest.split_once('/'));
    if path.is_none_or(|(_, path)| path.trim_matches('/').is_empty()) {
        return Err(InvalidUrl::NamesNoQueue);
    }
    Ok(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_url_names_its_service_and_its_queue() {
        let service = |url| of_queue(url).map(|endpoint| endpoint.url().to_owned());
        assert_eq!(
            service("http://localhost:4566/000000000000/login-queue").as_deref(),
            Ok("http://localhost:4566")
        );
        assert_eq!(service("http://[::1]:9324/queue/q").as_deref(), Ok("http://[::1]:9324"));
        for bad in ["http://localhost:4566", "http://localhost:4566/", "https://host//"] {
            assert_eq!(service(bad), Err(InvalidUrl::NamesNoQueue), "{bad}");
        }
        assert_eq!(service("http://user:hunter2@host/q"), Err(InvalidUrl::HoldsCredentials));
    }
}
