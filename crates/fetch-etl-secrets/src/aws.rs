//! What the AWS sources share: where a service is, and a client's settings.

mod failure;

use std::time::Duration;

use aws_config::identity::IdentityCache;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use fetch_etl_aws::{Endpoint, FALLBACK_REGION, InvalidUrl, environment_endpoint, http_client};

use crate::SecretError;
pub(crate) use failure::{Class, Verdict, secret_error};

/// A start may wait as long as that, all tries together, before it says what is wrong.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A few more than the SDK's three: nobody asks again before the process is started again.
const MAX_ATTEMPTS: u32 = 5;
const MAX_BACKOFF: Duration = Duration::from_secs(2);

/// ARNs of secrets are the longest of all ids.
const MAX_ID_BYTES: usize = 2048;

/// Where AWS is asked. Everything else, credentials above all, is found as the SDK always does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsOptions {
    /// The AWS region. Default: what an ARN states, then the SDK's own chain, then, for an endpoint that is not AWS's,
    /// `us-east-1` (emulators need one for the signature and do not care which).
    pub region: Option<String>,
    /// Another endpoint than AWS's own: LocalStack, moto, an interface endpoint. Default: `AWS_ENDPOINT_URL_SECRETS_MANAGER`
    /// or `AWS_ENDPOINT_URL_KMS`, `AWS_ENDPOINT_URL`, the profile's.
    pub endpoint_url: Option<String>,
}

/// A service of AWS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// As in messages.
    pub(crate) name: &'static str,
    /// As the SDK knows it, from which it makes the names of its settings.
    pub(crate) id: &'static str,
}

/// Where requests go, and how.
#[derive(Debug)]
pub(crate) struct Connection {
    service: Service,
    endpoint: Option<Endpoint>,
    region: String,
    sdk: SdkConfig,
}

impl Connection {
    /// Reads what the environment says, as the SDK does, as far as the options leave it open. `stated` is the region that
    /// an ARN states.
    pub(crate) async fn load(
        service: Service,
        options: &AwsOptions,
        stated: Option<&str>,
    ) -> Result<Self, SecretError> {
        let region = options.region.as_deref().or(stated);
        let loader = fetch_etl_aws::loader(region, options.endpoint_url.is_some());
        Self::new(service, options, stated, &loader.load().await)
    }

    /// With what somebody else has read.
    pub(crate) fn new(
        service: Service,
        options: &AwsOptions,
        stated: Option<&str>,
        sdk: &SdkConfig,
    ) -> Result<Self, SecretError> {
        let wrong = |cause| SecretError::misconfigured(service.name, cause);
        let endpoint = options.endpoint_url.clone().or_else(|| environment_endpoint(service.id, sdk));
        let endpoint = endpoint.map(|url| Endpoint::parse(&url).map_err(|problem| wrong(what_is(problem))));
        let endpoint = endpoint.transpose()?;
        let elsewhere = endpoint.as_ref().is_some_and(|endpoint| !endpoint.is_aws());
        let region = options.region.as_deref().or(stated).or(sdk.region().map(AsRef::as_ref));
        let region = region.or(elsewhere.then_some(FALLBACK_REGION));
        let region =
            region.ok_or_else(|| wrong("no AWS region: set one, or AWS_REGION, or the profile's region"))?;
        if !is_region(region) {
            return Err(wrong("the AWS region is none; one looks like eu-west-1"));
        }
        let (region, sdk) = (region.to_owned(), settings(sdk, region, endpoint.as_ref()));
        Ok(Self { service, endpoint, region, sdk })
    }

    /// The settings of a client of the service, but for the endpoint: the SDK would ask the environment once more.
    pub(crate) fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// Where the service is, if not where AWS has it.
    pub(crate) fn endpoint_url(&self) -> Option<String> {
        self.endpoint.as_ref().map(|endpoint| endpoint.url().to_owned())
    }

    /// As in "AWS KMS in eu-west-1".
    pub(crate) fn describe(&self) -> String {
        let name = self.service.name;
        match &self.endpoint {
            Some(endpoint) => format!("{name} at {}", endpoint.url()),
            None => format!("{name} in {}", self.region),
        }
    }
}

fn settings(sdk: &SdkConfig, region: &str, endpoint: Option<&Endpoint>) -> SdkConfig {
    let retries = RetryConfig::standard()
        .with_max_attempts(MAX_ATTEMPTS)
        .with_initial_backoff(Duration::from_millis(100))
        .with_max_backoff(MAX_BACKOFF);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut builder = sdk
        .to_builder()
        .region(Region::new(region.to_owned()))
        .retry_config(retries)
        .timeout_config(timeouts)
        // The timeouts bound everything already, and give a better error.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if sdk.behavior_version().is_none() {
        builder = builder.behavior_version(BehaviorVersion::latest());
    }
    if sdk.http_client().is_none() {
        builder = builder.http_client(http_client(endpoint));
    }
    if sdk.identity_cache().is_none() {
        builder = builder.identity_cache(IdentityCache::lazy().build());
    }
    builder.build()
}

/// What is wrong with an endpoint's URL. It is not quoted: it may hold a password.
fn what_is(problem: InvalidUrl) -> &'static str {
    match problem {
        InvalidUrl::NotHttp => "the endpoint URL is no http:// or https:// URL",
        InvalidUrl::HoldsCredentials => {
            "the endpoint URL holds a user name or password, which AWS does not know"
        }
        InvalidUrl::HoldsQuery => "the endpoint URL holds a ? or #",
    }
}

/// A part of host names, so it must be nothing else.
fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A name, an id or an ARN. What is none is not quoted: it may be the secret, in the wrong setting.
pub(crate) fn checked_id(id: String, what: &'static str) -> Result<String, SecretError> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(id)
    } else {
        Err(SecretError::misconfigured(what, "a name or ARN has 1 to 2048 ASCII characters without spaces"))
    }
}

/// The region that an ARN states.
pub(crate) fn region_of(id: &str) -> Option<&str> {
    let mut parts = id.split(':');
    let region = (parts.next()? == "arn").then(|| parts.nth(2))?;
    region.filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Service = Service { name: "AWS KMS", id: "KMS" };

    fn connection(
        region: Option<&str>,
        endpoint: Option<&str>,
        sdk: &SdkConfig,
    ) -> Result<Connection, SecretError> {
        let options =
            AwsOptions { region: region.map(str::to_owned), endpoint_url: endpoint.map(str::to_owned) };
        Connection::new(SERVICE, &options, None, sdk)
    }

    fn sdk(region: Option<&'static str>, endpoint: Option<&str>) -> SdkConfig {
        let mut builder = SdkConfig::builder().region(region.map(Region::from_static));
        builder.set_endpoint_url(endpoint.map(str::to_owned));
        builder.build()
    }

    #[test]
    fn the_region_that_is_set_comes_before_the_arns_and_that_before_the_environments() {
        let options =
            |region: Option<&str>| AwsOptions { region: region.map(str::to_owned), endpoint_url: None };
        let region = |set, stated| {
            let sdk = sdk(Some("eu-north-1"), None);
            Connection::new(SERVICE, &options(set), stated, &sdk).unwrap().describe()
        };
        assert_eq!(region(Some("eu-west-1"), Some("eu-west-2")), "AWS KMS in eu-west-1");
        assert_eq!(region(None, Some("eu-west-2")), "AWS KMS in eu-west-2");
        assert_eq!(region(None, None), "AWS KMS in eu-north-1");
    }

    #[test]
    fn the_region_falls_back_only_away_from_aws() {
        let local = connection(None, Some("http://localhost:4566"), &sdk(None, None)).unwrap();
        assert_eq!(
            (local.region.as_str(), local.describe().as_str()),
            ("us-east-1", "AWS KMS at http://localhost:4566")
        );
        for endpoint in [None, Some("https://vpce-1-2.kms.eu-west-3.vpce.amazonaws.com")] {
            assert_eq!(
                connection(None, endpoint, &sdk(None, None)).unwrap_err().to_string(),
                "AWS KMS: no AWS region: set one, or AWS_REGION, or the profile's region"
            );
        }
    }

    #[test]
    fn a_region_that_is_none_is_not_quoted() {
        for bad in ["", "eu west", "eu-west-1.hunter2.example", "EU-WEST-1"] {
            let error = connection(Some(bad), None, &sdk(None, None)).unwrap_err();
            assert_eq!(error.to_string(), "AWS KMS: the AWS region is none; one looks like eu-west-1");
        }
    }

    #[test]
    fn the_endpoint_that_is_set_comes_before_the_environments() {
        let environment = sdk(None, Some("http://environment:1"));
        let url = |set| connection(None, set, &environment).unwrap().endpoint_url();
        assert_eq!(url(Some("http://set:1")).as_deref(), Some("http://set:1"));
        assert_eq!(url(None).as_deref(), Some("http://environment:1"));
    }

    #[test]
    fn an_endpoint_that_is_none_is_not_quoted() {
        for (url, problem) in [
            ("ftp://hunter2", "no http:// or https:// URL"),
            ("http://user:hunter2@host", "a user name or password, which AWS does not know"),
            ("http://host?x=hunter2", "a ? or #"),
        ] {
            let environment = sdk(Some("eu-west-1"), Some(url));
            for set in [Some(url), None] {
                let error = connection(None, set, &environment).unwrap_err().to_string();
                assert!(
                    error.starts_with("AWS KMS: the endpoint URL ") && error.ends_with(problem),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn all_tries_together_are_bounded() {
        let connection = connection(Some("eu-west-1"), None, &sdk(None, None)).unwrap();
        let timeouts = connection.sdk().timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(OPERATION_TIMEOUT));
        assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        assert_eq!(connection.sdk().retry_config().unwrap().max_attempts(), MAX_ATTEMPTS);
    }

    #[test]
    fn an_arn_states_its_region() {
        for (id, region) in [
            ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:etl/key-a1b2c3", Some("eu-west-1")),
            ("arn:aws-cn:kms:cn-north-1:123456789012:key/1", Some("cn-north-1")),
            ("arn:aws:kms::1:key/1", None),
            ("arn:aws", None),
            ("alias/etl", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(region_of(id), region, "{id}");
        }
    }

    #[test]
    fn an_id_that_is_none_is_not_quoted() {
        for bad in ["", "hunter 2", "hunter2\n", "hünter2", &"hunter2".repeat(300)] {
            let error = checked_id(bad.to_owned(), "the secret").unwrap_err();
            assert!(matches!(error, SecretError::Misconfigured { .. }), "{error:?}");
            assert!(!format!("{error} {error:?}").contains("nter"), "{error}");
        }
    }
}
