//! Connections.

use std::sync::OnceLock;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{SharedHttpClient, SharedHttpConnector, http_client_fn};

use crate::Endpoint;

/// One pool of connections for all clients that have it: TLS by rustls and aws-lc-rs, through the proxy that the environment names.
/// It has no bound of its own: there are as many connections as calls under way.
///
/// The SDK's default would make one for each client and, for each, read the machine's certificates.
pub fn http_client(endpoint: Option<&Endpoint>) -> SharedHttpClient {
    if endpoint.is_some_and(|endpoint| !endpoint.is_https()) {
        // An emulator, on this machine or beside it: no TLS, and not through the proxy that leads to the world.
        return aws_smithy_http_client::Builder::new().build_http();
    }
    let shared = OnceLock::new();
    http_client_fn(move |settings, components| {
        let connector = || {
            let mut builder = Connector::builder()
                .connector_settings(settings.clone())
                .proxy_config(ProxyConfig::from_env())
                .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc));
            builder.set_sleep_impl(components.sleep_impl());
            SharedHttpConnector::new(builder.build())
        };
        shared.get_or_init(connector).clone()
    })
}
