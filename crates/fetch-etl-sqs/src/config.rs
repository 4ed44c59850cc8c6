//! What a source needs to know, and what of it is refused before anything is asked of AWS.

use std::fmt;
use std::time::Duration;

use fetch_etl_aws::Endpoint;

use crate::endpoint::{self, InvalidUrl};

/// SQS's own bounds, from its API reference.
const MAX_WAIT: Duration = Duration::from_secs(20);
pub(crate) const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
const MAX_NAME_CHARS: usize = 80;
const MAX_ATTRIBUTE_NAME_CHARS: usize = 256;

/// How a queue is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// By its name, which is looked up in the region and account of the credentials.
    Name(String),
    /// By its URL. A host that is not AWS's is also the endpoint, unless another one is set; AWS's states the region.
    Url(String),
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Url(text) => f.write_str(text),
        }
    }
}

/// Where credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credentials {
    /// The SDK's own chain: environment, profile, SSO, web identity, container, instance.
    #[default]
    SdkChain,
    /// A made-up pair, for an emulator that checks none. Refused where AWS itself would see it.
    Placeholder,
}

/// Who makes the calls that every message costs: receiving, deleting, extending. All others are the SDK's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// This crate, with the credentials, endpoint, region, signature and connections of the SDK's client: a fraction of its work.
    #[default]
    Lean,
    /// The SDK's client.
    Sdk,
}

/// Everything that an [`SqsSource`](crate::SqsSource) needs to know.
///
/// ```
/// use std::time::Duration;
/// use fetch_etl_sqs::{Queue, SqsConfig};
///
/// let config = SqsConfig {
///     endpoint_url: Some("http://localhost:9324".into()),
///     key_attribute: Some("event-id".into()),
///     ..SqsConfig::new(Queue::Name("logins".into()))
/// };
/// assert_eq!(config.wait_time, Duration::from_secs(20));
/// assert!(config.check().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqsConfig {
    /// The queue.
    pub queue: Queue,
    /// Another endpoint than AWS's own: ElasticMQ, LocalStack, an interface endpoint. Default: `AWS_ENDPOINT_URL_SQS`,
    /// `AWS_ENDPOINT_URL`, the profile's, or the host of a queue URL that is not AWS's.
    pub endpoint_url: Option<String>,
    /// The AWS region. Default: what an AWS queue URL or endpoint states, then the SDK's own chain, then, for an
    /// endpoint that is not AWS's, `us-east-1` (emulators need one for the signature and do not care which).
    pub region: Option<String>,
    /// The long poll: how long a receive waits for a message; whole seconds, 0–20. Default 20 s.
    pub wait_time: Duration,
    /// How long a received message is invisible to others; whole seconds, 1 s–12 h. Default: the queue's own, or 30 s
    /// where that is 0 or must not be read.
    pub visibility_timeout: Option<Duration>,
    /// The message attribute in which the producer states the event's id. Default: none.
    pub key_attribute: Option<String>,
    /// Where credentials come from. Default: the SDK's chain.
    pub credentials: Credentials,
    /// How long one call may take, beyond the wait of a long poll. Default 10 s.
    pub request_timeout: Duration,
    /// How long making a connection may take. Default 3 s.
    pub connect_timeout: Duration,
    /// How often the calls are tried that the pipeline does not repeat itself: looking up the queue, giving messages
    /// back, asking for the depth. Default 3.
    pub max_attempts: u32,
    /// Who makes the calls that every message costs. Default: [`Transport::Lean`].
    pub transport: Transport,
}

impl SqsConfig {
    /// The defaults, for a queue.
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            endpoint_url: None,
            region: None,
            wait_time: MAX_WAIT,
            visibility_timeout: None,
            key_attribute: None,
            credentials: Credentials::SdkChain,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(3),
            max_attempts: 3,
            transport: Transport::Lean,
        }
    }

    /// Checks everything that can be checked without AWS.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.resolve().map(drop)
    }

    /// Checks everything and works out where the service is.
    pub(crate) fn resolve(&self) -> Result<Place, ConfigError> {
        self.check_times()?;
        if self.max_attempts == 0 {
            return Err(ConfigError::NoAttempts);
        }
        if let Some(name) = &self.key_attribute {
            check_attribute_name(name)?;
        }
        let of_queue = match &self.queue {
            Queue::Name(name) => check_queue_name(name).map(|()| None)?,
            Queue::Url(url) => Some(endpoint::of_queue(url).map_err(ConfigError::QueueUrl)?),
        };
        let explicit = self
            .endpoint_url
            .as_deref()
            .map(endpoint::parse)
            .transpose()
            .map_err(ConfigError::EndpointUrl)?;
        let region = self.resolve_region([&of_queue, &explicit])?;
        let place = Place { explicit, of_queue: of_queue.filter(|endpoint| !endpoint.is_aws()), region };
        place.check_credentials(self.credentials)?;
        Ok(place)
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        if self.wait_time > MAX_WAIT {
            return Err(ConfigError::WaitTooLong(self.wait_time));
        }
        if self.wait_time.subsec_nanos() != 0 {
            return Err(ConfigError::NotWholeSeconds("wait_time"));
        }
        for (name, time) in
            [("request_timeout", self.request_timeout), ("connect_timeout", self.connect_timeout)]
        {
            if time.is_zero() {
                return Err(ConfigError::NoTime(name));
            }
        }
        match self.visibility_timeout {
            Some(Duration::ZERO) => Err(ConfigError::NoVisibility),
            Some(time) if time > MAX_VISIBILITY => Err(ConfigError::VisibilityTooLong(time)),
            Some(time) if time.subsec_nanos() != 0 => Err(ConfigError::NotWholeSeconds("visibility_timeout")),
            _ => Ok(()),
        }
    }

    /// The region that is set or that AWS's own host names state; they must agree, for a request that is signed for one
    /// region and sent to another is refused with a text that nobody understands.
    fn resolve_region(&self, hosts: [&Option<Endpoint>; 2]) -> Result<Option<String>, ConfigError> {
        let mut region = self.region.clone();
        if region.as_deref().is_some_and(|region| !is_region(region)) {
            return Err(ConfigError::Region);
        }
        for stated in hosts.into_iter().flatten().filter_map(Endpoint::aws_region) {
            match &region {
                Some(region) if region != stated => {
                    return Err(ConfigError::RegionMismatch {
                        set: region.clone(),
                        stated: stated.to_owned(),
                    });
                }
                _ => region = Some(stated.to_owned()),
            }
        }
        Ok(region)
    }
}

/// Where the service is, as far as the configuration says.
#[derive(Debug)]
pub(crate) struct Place {
    /// The endpoint that is set.
    pub(crate) explicit: Option<Endpoint>,
    /// The endpoint that a queue URL states, where it is not AWS's.
    pub(crate) of_queue: Option<Endpoint>,
    pub(crate) region: Option<String>,
}

impl Place {
    fn check_credentials(&self, credentials: Credentials) -> Result<(), ConfigError> {
        let own =
            self.explicit.as_ref().or(self.of_queue.as_ref()).is_some_and(|endpoint| !endpoint.is_aws());
        if credentials == Credentials::Placeholder && !own {
            return Err(ConfigError::PlaceholderForAws);
        }
        Ok(())
    }
}

/// What is wrong with a configuration. The names are those of [`SqsConfig`]'s fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The wait is over 20 s.
    #[error(
        "wait_time is {} s, but a long poll of SQS lasts at most 20 s and a longer one is refused; use 0–20 s",
        .0.as_secs_f64()
    )]
    WaitTooLong(Duration),
    /// A time has a fraction that SQS cannot express.
    #[error("{0} is no whole number of seconds, and SQS knows no fractions")]
    NotWholeSeconds(&'static str),
    /// A timeout of nothing.
    #[error("{0} is 0 s: every call would time out")]
    NoTime(&'static str),
    /// The visibility timeout is 0.
    #[error(
        "visibility_timeout is 0 s: every message would be delivered again while it is being written; use 1–43200 s"
    )]
    NoVisibility,
    /// The visibility timeout is over 12 h.
    #[error("visibility_timeout is {} s, but SQS hides a message for at most 43200 s (12 h)", .0.as_secs_f64())]
    VisibilityTooLong(Duration),
    /// No attempt at all.
    #[error("max_attempts is 0: nothing would ever be sent")]
    NoAttempts,
    /// The queue's name cannot be one.
    #[error("the queue name must be 1–80 letters, digits, - or _ (and may end in .fifo)")]
    QueueName,
    /// A URL where a name belongs.
    #[error("the queue name is a URL: set it as the queue's URL instead")]
    QueueNameIsUrl,
    /// The queue's URL cannot be one.
    #[error("the queue URL {0}; it should look like https://sqs.eu-west-1.amazonaws.com/123456789012/logins")]
    QueueUrl(InvalidUrl),
    /// The endpoint's URL cannot be one.
    #[error("endpoint_url {0}; it should look like http://localhost:9324")]
    EndpointUrl(InvalidUrl),
    /// The region's name cannot be one.
    #[error("the region must be letters, digits and -, as in eu-west-1")]
    Region,
    /// The region that is set is not the one of the queue or the endpoint.
    #[error("the region is set to {set}, but the URL is of {stated}")]
    RegionMismatch {
        /// What is set.
        set: String,
        /// What the URL states.
        stated: String,
    },
    /// No message attribute can be named so.
    #[error(
        "key_attribute must be 1–256 letters, digits, -, _ or . (not at either end, and no two . together) and not start \
         with AWS. or Amazon."
    )]
    KeyAttribute,
    /// Placeholder credentials would go to AWS.
    #[error(
        "placeholder credentials are for an emulator: they need an endpoint_url or queue URL that is not AWS's"
    )]
    PlaceholderForAws,
}

fn check_queue_name(name: &str) -> Result<(), ConfigError> {
    if name.contains("://") {
        return Err(ConfigError::QueueNameIsUrl);
    }
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let fits = !stem.is_empty() && name.len() <= MAX_NAME_CHARS;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if fits && stem.bytes().all(allowed) { Ok(()) } else { Err(ConfigError::QueueName) }
}

fn check_attribute_name(name: &str) -> Result<(), ConfigError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    // "All" and "name.*" would be taken for patterns by ReceiveMessage; the second is no valid name anyway.
    let well_formed = (1..=MAX_ATTRIBUTE_NAME_CHARS).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && name != "All";
    if well_formed && !reserved { Ok(()) } else { Err(ConfigError::KeyAttribute) }
}

/// What can stand in a host name, as the SDK puts it there.
fn is_region(region: &str) -> bool {
    !region.is_empty() && region.len() <= 63 && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> SqsConfig {
        SqsConfig::new(Queue::Name(name.into()))
    }

    fn at(url: &str) -> SqsConfig {
        SqsConfig::new(Queue::Url(url.into()))
    }

    const AWS_QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/logins";

    #[test]
    fn the_first_versions_wait_is_refused_with_the_reason() {
        let config = SqsConfig { wait_time: Duration::from_secs(25), ..named("logins") };
        let error = config.check().unwrap_err();
        assert_eq!(error, ConfigError::WaitTooLong(Duration::from_secs(25)));
        assert_eq!(
            error.to_string(),
            "wait_time is 25 s, but a long poll of SQS lasts at most 20 s and a longer one is refused; use 0–20 s"
        );
    }

    #[test]
    fn times_must_be_what_sqs_can_express() {
        let ms = Duration::from_millis;
        for (wait, outcome) in [
            (ms(0), Ok(())),
            (ms(20_000), Ok(())),
            (ms(20_001), Err(ConfigError::WaitTooLong(ms(20_001)))),
            (ms(1_500), Err(ConfigError::NotWholeSeconds("wait_time"))),
        ] {
            assert_eq!(SqsConfig { wait_time: wait, ..named("q") }.check(), outcome, "{wait:?}");
        }
        for (visibility, outcome) in [
            (ms(1_000), Ok(())),
            (MAX_VISIBILITY, Ok(())),
            (ms(0), Err(ConfigError::NoVisibility)),
            (MAX_VISIBILITY + ms(1), Err(ConfigError::VisibilityTooLong(MAX_VISIBILITY + ms(1)))),
            (ms(500), Err(ConfigError::NotWholeSeconds("visibility_timeout"))),
        ] {
            let config = SqsConfig { visibility_timeout: Some(visibility), ..named("q") };
            assert_eq!(config.check(), outcome, "{visibility:?}");
        }
        let config = SqsConfig { request_timeout: ms(0), ..named("q") };
        assert_eq!(config.check(), Err(ConfigError::NoTime("request_timeout")));
        assert_eq!(SqsConfig { max_attempts: 0, ..named("q") }.check(), Err(ConfigError::NoAttempts));
    }

    #[test]
    fn names_are_checked_before_anybody_is_asked() {
        for good in ["q", "login-queue_2", "logins.fifo", &"q".repeat(80)] {
            assert_eq!(named(good).check(), Ok(()), "{good}");
        }
        for bad in ["", ".fifo", "a b", "a.b", "ü", &"q".repeat(81)] {
            assert_eq!(named(bad).check(), Err(ConfigError::QueueName), "{bad}");
        }
        assert_eq!(named(AWS_QUEUE).check(), Err(ConfigError::QueueNameIsUrl));
        for (attribute, outcome) in [
            ("event-id", Ok(())),
            ("a.b", Ok(())),
            ("", Err(ConfigError::KeyAttribute)),
            ("All", Err(ConfigError::KeyAttribute)),
            ("a.*", Err(ConfigError::KeyAttribute)),
            ("a..b", Err(ConfigError::KeyAttribute)),
            ("AWS.x", Err(ConfigError::KeyAttribute)),
        ] {
            let config = SqsConfig { key_attribute: Some(attribute.into()), ..named("q") };
            assert_eq!(config.check(), outcome, "{attribute}");
        }
    }

    #[test]
    fn a_refused_url_is_not_quoted() {
        let secret = "http://user:hunter2@localhost:9324/queue/q";
        for config in [at(secret), SqsConfig { endpoint_url: Some(secret.into()), ..named("q") }] {
            let error = config.check().unwrap_err();
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn the_region_comes_from_where_it_is_stated() {
        let region = |config: SqsConfig| config.resolve().map(|place| place.region);
        assert_eq!(region(named("q")), Ok(None));
        assert_eq!(region(at("http://localhost:9324/queue/q")), Ok(None));
        assert_eq!(region(at(AWS_QUEUE)), Ok(Some("eu-west-1".into())));
        let set = |region: &str, config| SqsConfig { region: Some(region.into()), ..config };
        assert_eq!(region(set("eu-west-1", at(AWS_QUEUE))), Ok(Some("eu-west-1".into())));
        assert_eq!(
            region(set("us-east-1", at(AWS_QUEUE))).unwrap_err().to_string(),
            "the region is set to us-east-1, but the URL is of eu-west-1"
        );
        assert_eq!(region(set("eu west", named("q"))), Err(ConfigError::Region));
        let vpc = "https://vpce-1-2.sqs.eu-west-3.vpce.amazonaws.com";
        let config = SqsConfig { endpoint_url: Some(vpc.into()), ..at(AWS_QUEUE) };
        assert!(matches!(region(config), Err(ConfigError::RegionMismatch { .. })));
    }

    #[test]
    fn a_queue_url_that_is_not_awss_is_an_endpoint() {
        let place = at("http://localhost:4566/000000000000/q").resolve().unwrap();
        assert_eq!(place.of_queue.as_ref().map(Endpoint::url), Some("http://localhost:4566"));
        assert_eq!(at(AWS_QUEUE).resolve().unwrap().of_queue, None);
    }

    #[test]
    fn placeholder_credentials_never_go_to_aws() {
        let placeholder = |config| SqsConfig { credentials: Credentials::Placeholder, ..config };
        assert_eq!(placeholder(at("http://localhost:9324/queue/q")).check(), Ok(()));
        let aws =
            SqsConfig { endpoint_url: Some("https://sqs.eu-west-1.amazonaws.com".into()), ..named("q") };
        for config in [named("q"), at(AWS_QUEUE), aws] {
            assert_eq!(placeholder(config).check(), Err(ConfigError::PlaceholderForAws));
        }
    }
}
