//! What the environment says.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_types::service_config::ServiceConfigKey;

/// What an endpoint that is not AWS's gets when nobody names a region: it goes into the signature and is not looked at.
pub const FALLBACK_REGION: &str = "us-east-1";

/// Reads the environment as the SDK does, but for the region where one is given, or where requests go to an endpoint that is
/// known already.
pub fn loader(region: Option<&str>, has_endpoint: bool) -> ConfigLoader {
    let loader = aws_config::defaults(BehaviorVersion::latest());
    match region {
        Some(region) => loader.region(Region::new(region.to_owned())),
        // Without the instance's metadata service, the last link of the chain: away from AWS it only costs seconds.
        None if has_endpoint => loader.region(
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new()),
        ),
        None => loader,
    }
}

/// The endpoint that the environment or the profile sets, for the service alone or for all of AWS. `service_id` is the service as
/// the SDK knows it, from which the names of the settings are made.
pub fn environment_endpoint(service_id: &str, sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(service_id);
    let key = key.env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_service = key.ok().and_then(|key| sdk.service_config()?.load_config(key));
    of_service.or_else(|| sdk.endpoint_url().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_all_services_is_the_services_own_where_it_has_none() {
        let sdk = SdkConfig::builder().endpoint_url("http://environment:1").build();
        assert_eq!(environment_endpoint("SQS", &sdk).as_deref(), Some("http://environment:1"));
        assert_eq!(environment_endpoint("SQS", &SdkConfig::builder().build()), None);
    }
}
