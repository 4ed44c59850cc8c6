//! The SDK's clients, with another timeout and retry policy for each kind of call.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::{Builder, IdentityCache, StalledStreamProtectionConfig};
use fetch_etl_aws::{Endpoint, FALLBACK_REGION, environment_endpoint, http_client};

use crate::calls::{Ask, SdkCalls};
use crate::config::{Credentials, Place};
use crate::{ConnectError, SqsConfig, endpoint};

/// Reads what the environment says, as the SDK does.
pub(crate) async fn load(config: &SqsConfig, place: &Place) -> SdkConfig {
    let has_endpoint = place.explicit.is_some() || place.of_queue.is_some();
    let loader = fetch_etl_aws::loader(place.region.as_deref(), has_endpoint);
    match config.credentials {
        Credentials::SdkChain => loader.load().await,
        Credentials::Placeholder => loader.credentials_provider(placeholder()).load().await,
    }
}

fn placeholder() -> aws_sdk_sqs::config::Credentials {
    aws_sdk_sqs::config::Credentials::new("placeholder", "placeholder", None, None, "placeholder")
}

/// Where requests go: an endpoint, or AWS's own of a region.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) region: String,
}

impl Target {
    pub(crate) fn new(place: Place, sdk: &SdkConfig) -> Result<Self, ConnectError> {
        let endpoint = match (place.explicit, environment_endpoint("SQS", sdk)) {
            (Some(endpoint), _) => Some(endpoint),
            (None, Some(url)) => Some(endpoint::parse(&url).map_err(ConnectError::endpoint_of_environment)?),
            (None, None) => place.of_queue,
        };
        let stated = place.region.or_else(|| endpoint.as_ref()?.aws_region().map(str::to_owned));
        let fallback =
            || endpoint.as_ref().filter(|endpoint| !endpoint.is_aws()).map(|_| FALLBACK_REGION.to_owned());
        let region = stated.or_else(|| sdk.region().map(ToString::to_string)).or_else(fallback);
        Ok(Self { region: region.ok_or_else(ConnectError::no_region)?, endpoint })
    }

    /// As in "the queue does not exist …".
    pub(crate) fn place(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("at {}", endpoint.url()),
            None => format!("in {}", self.region),
        }
    }

    /// As in "cannot reach …".
    pub(crate) fn address(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.to_string(),
            None => format!("SQS of the region {}", self.region),
        }
    }
}

/// One client for each policy; they share connections and credentials.
///
/// | calls | attempts | because |
/// |---|---|---|
/// | receive | 1 | the pipeline backs off and tries again; a retry in here would double a long poll |
/// | ack, extend | 1 | the pipeline repeats them, and entries fail one by one anyway |
/// | nack, depth, looking up | `max_attempts` | nobody else repeats them |
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) receiving: Client,
    pub(crate) settling: Client,
    pub(crate) asking: Client,
    settings: Settings,
}

#[derive(Debug)]
struct Settings {
    base: Builder,
    connect_timeout: Duration,
    request_timeout: Duration,
}

impl Clients {
    pub(crate) fn new(config: &SqsConfig, target: &Target, sdk: &SdkConfig) -> Self {
        let mut base = Builder::from(sdk)
            .region(Region::new(target.region.clone()))
            // Every call has a limit of its own below, and a long poll is meant to be silent.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        base.set_endpoint_url(target.endpoint.as_ref().map(|endpoint| endpoint.url().to_owned()));
        if sdk.behavior_version().is_none() {
            base = base.behavior_version(BehaviorVersion::latest());
        }
        if sdk.http_client().is_none() {
            base = base.http_client(http_client(target.endpoint.as_ref()));
        }
        if sdk.identity_cache().is_none() {
            base = base.identity_cache(IdentityCache::lazy().build());
        }
        let SqsConfig { connect_timeout, request_timeout, .. } = *config;
        let settings = Settings { base, connect_timeout, request_timeout };
        let retries = RetryConfig::standard()
            .with_max_attempts(config.max_attempts)
            .with_initial_backoff(Duration::from_millis(100))
            .with_max_backoff(Duration::from_secs(2));
        Self {
            receiving: settings.client(RetryConfig::disabled(), config.wait_time + request_timeout),
            settling: settings.client(RetryConfig::disabled(), request_timeout),
            asking: settings.client(retries, request_timeout),
            settings,
        }
    }

    /// Limits acks and extensions to a quarter of the lease: leases are renewed at half-life, and a call that hangs must
    /// leave time for another try.
    pub(crate) fn with_lease(mut self, lease: Duration) -> Self {
        let timeout = self.settings.request_timeout.min((lease / 4).max(Duration::from_secs(1)));
        self.settling = self.settings.client(RetryConfig::disabled(), timeout);
        self
    }

    pub(crate) fn calls(&self, ask: Ask) -> SdkCalls {
        SdkCalls { receiving: self.receiving.clone(), settling: self.settling.clone(), ask }
    }
}

impl Settings {
    fn client(&self, retries: RetryConfig, attempt_timeout: Duration) -> Client {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(attempt_timeout);
        // No read timeout: it would end long polls, and what it is for the attempt's timeout does.
        let timeouts = timeouts.disable_read_timeout().build();
        Client::from_conf(self.base.clone().retry_config(retries).timeout_config(timeouts).build())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Queue;

    fn target(config: SqsConfig, sdk: &SdkConfig) -> Result<Target, ConnectError> {
        Target::new(config.resolve().unwrap(), sdk)
    }

    fn named() -> SqsConfig {
        SqsConfig::new(Queue::Name("logins".into()))
    }

    fn sdk(region: Option<&'static str>, endpoint: Option<&str>) -> SdkConfig {
        let mut builder = SdkConfig::builder().region(region.map(Region::from_static));
        builder.set_endpoint_url(endpoint.map(str::to_owned));
        builder.build()
    }

    #[test]
    fn the_region_falls_back_only_away_from_aws() {
        let local = SqsConfig { endpoint_url: Some("http://localhost:9324".into()), ..named() };
        assert_eq!(target(local.clone(), &sdk(None, None)).unwrap().region, "us-east-1");
        assert_eq!(target(local, &sdk(Some("eu-west-1"), None)).unwrap().region, "eu-west-1");
        let interface = "https://vpce-1-2.sqs.eu-west-3.vpce.amazonaws.com";
        assert_eq!(target(named(), &sdk(Some("eu-west-3"), None)).unwrap().region, "eu-west-3");
        assert_eq!(target(named(), &sdk(None, Some(interface))).unwrap().region, "eu-west-3");
        let error = target(named(), &sdk(None, None)).unwrap_err();
        assert_eq!(error.to_string(), "no AWS region: set one, or AWS_REGION, or the profile's region");
    }

    #[test]
    fn the_endpoint_that_is_set_comes_before_the_environments_and_that_before_the_queues() {
        let by_url = SqsConfig::new(Queue::Url("http://queue:1/q".into()));
        let both = SqsConfig { endpoint_url: Some("http://set:1".into()), ..by_url.clone() };
        let address = |config, endpoint| target(config, &sdk(None, endpoint)).unwrap().address();
        assert_eq!(address(both, Some("http://environment:1")), "set:1");
        assert_eq!(address(by_url.clone(), Some("http://environment:1")), "environment:1");
        assert_eq!(address(by_url, None), "queue:1");
    }

    #[test]
    fn acks_and_extensions_leave_time_for_another_try_within_the_lease() {
        let sdk = sdk(Some("eu-west-1"), None);
        let target = target(named(), &sdk).unwrap();
        for (lease_s, timeout_s) in [(30, 7.5), (1, 1.0), (3600, 10.0)] {
            let clients = Clients::new(&named(), &target, &sdk).with_lease(Duration::from_secs(lease_s));
            let timeout =
                |client: &Client| client.config().timeout_config().unwrap().operation_attempt_timeout();
            assert_eq!(timeout(&clients.settling), Some(Duration::from_secs_f64(timeout_s)), "{lease_s}");
            assert_eq!(timeout(&clients.receiving), Some(Duration::from_secs(30)));
        }
    }
}
