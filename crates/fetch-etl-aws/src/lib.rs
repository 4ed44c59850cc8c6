//! What every client of AWS in this workspace has in common, and what none of them is about: where a service is ([`Endpoint`],
//! [`environment_endpoint`], [`loader`]), over which connections it is asked ([`http_client`]), and why a request did not get through
//! ([`Obstacle`]) or what may be said of one that did ([`error_code`], [`request_id`]).
//!
//! Retries, timeouts, and what an error of a service means are the caller's. Nothing here logs.

mod endpoint;
mod environment;
mod handshake;
mod http_client;
mod mark;
mod obstacle;

pub use endpoint::{Endpoint, InvalidUrl};
pub use environment::{FALLBACK_REGION, environment_endpoint, loader};
pub use handshake::Handshake;
pub use http_client::http_client;
pub use mark::{error_code, request_id};
pub use obstacle::{Obstacle, credentials_error};
