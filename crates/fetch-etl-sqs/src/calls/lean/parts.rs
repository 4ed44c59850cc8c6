//! What a call needs of the SDK: taken from its client, not built again by rules of our own.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_sqs::Client;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::http::{HttpClient as _, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::identity::{
    Identity, ResolveCachedIdentity as _, SharedIdentityCache, SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::{GetIdentityResolver as _, RuntimeComponents};
use aws_smithy_types::config_bag::{ConfigBag, Layer};
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use http::Uri;

use super::signature::Signer;
use crate::calls::RECEIVE;
use crate::failure::{Failure, Reason};

const SIGNATURE_V4: AuthSchemeId = AuthSchemeId::new("sigv4");

/// Where calls go, who makes them, and through what.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) uri: Uri,
    pub(super) signer: Signer,
    pub(super) connector: SharedHttpConnector,
    components: RuntimeComponents,
    identities: SharedIdentityCache,
    identity: SharedIdentityResolver,
    /// What the cache of identities looks at: it allows a provider of credentials as much time as a call.
    bag: ConfigBag,
}

impl Parts {
    /// Has the client prepare a request, and stops it before that is signed and sent.
    pub(super) async fn take(client: &Client) -> Result<Self, Failure> {
        let seen = Arc::<Mutex<Option<Seen>>>::default();
        let look = Look(seen.clone());
        let error = client.receive_message().queue_url("").customize().interceptor(look).send().await.err();
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(seen) = seen else {
            return Err(error.map_or_else(not_built, |error| Failure::of(RECEIVE, &error)));
        };
        Self::new(seen, client).ok_or_else(not_built)
    }

    fn new(Seen { uri, region, service, components }: Seen, client: &Client) -> Option<Self> {
        let timeouts = client.config().timeout_config().cloned();
        let mut settings = HttpConnectorSettings::builder();
        settings.set_connect_timeout(timeouts.as_ref().and_then(|timeouts| timeouts.connect_timeout()));
        settings.set_read_timeout(timeouts.as_ref().and_then(|timeouts| timeouts.read_timeout()));
        let connector = components.http_client()?.http_connector(&settings.build(), &components);
        let mut layer = Layer::new("fetch-etl-sqs");
        if let Some(timeouts) = timeouts {
            layer.store_put(timeouts);
        }
        if let Some(retries) = client.config().retry_config() {
            layer.store_put(retries.clone());
        }
        let uri = uri.parse().ok()?;
        Some(Self {
            signer: Signer::new(&uri, region, service)?,
            uri,
            connector,
            identities: components.identity_cache(),
            identity: components.identity_resolver(SIGNATURE_V4)?,
            components,
            bag: ConfigBag::of_layers([layer]),
        })
    }

    /// Credentials: those that the SDK's client uses, renewed when it would renew them.
    pub(super) async fn identity(&self) -> Result<Identity, BoxError> {
        self.identities.resolve_cached_identity(self.identity.clone(), &self.components, &self.bag).await
    }

    pub(super) fn now(&self) -> std::time::SystemTime {
        self.components.time_source().unwrap_or_default().now()
    }
}

fn not_built() -> Failure {
    Failure::of_entry(RECEIVE, Reason::NotBuilt, None)
}

/// What a request of the SDK's shows just before it is signed.
struct Seen {
    uri: String,
    region: String,
    service: String,
    components: RuntimeComponents,
}

/// Looks at a request and ends it.
struct Look(Arc<Mutex<Option<Seen>>>);

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

impl Intercept for Look {
    fn name(&self) -> &'static str {
        "LookBeforeSigning"
    }

    fn read_before_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let region = bag.load::<SigningRegion>().ok_or("no region to sign for")?;
        let service = bag.load::<SigningName>().ok_or("no service to sign for")?;
        let seen = Seen {
            uri: context.request().uri().to_owned(),
            region: region.as_ref().to_owned(),
            service: service.as_ref().to_owned(),
            components: components.clone(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        Err("seen".into())
    }
}
