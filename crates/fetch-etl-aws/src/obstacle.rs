//! What kept a request from its destination.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;

use crate::Handshake;

/// What kept a request from its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody listens there.
    ConnectionRefused,
    /// No way leads there.
    NoRoute,
    /// The connection ended before its time.
    Cut,
    /// Who answers did not pass the TLS handshake.
    Tls(Handshake),
    /// No connection in time.
    Slow,
    /// The host's name has no address.
    Unresolved,
    /// Something else.
    Other,
}

impl Obstacle {
    /// Of an error of the SDK's connector, which says itself whether time ran out.
    pub fn of(error: &(dyn Error + 'static), timed_out: bool) -> Self {
        if timed_out {
            return Self::Slow;
        }
        if let Some(error) = chain(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            return Self::Tls(Handshake::of(error));
        }
        let kinds =
            || chain(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        // The outermost that says something: an outer one may be a mere wrapper.
        kinds().find_map(Self::of_io).unwrap_or_else(|| {
            let unresolved = chain(error).any(|cause| cause.to_string() == "dns error");
            if unresolved { Self::Unresolved } else { Self::Other }
        })
    }

    fn of_io(kind: io::ErrorKind) -> Option<Self> {
        use io::ErrorKind as Io;
        Some(match kind {
            Io::ConnectionRefused => Self::ConnectionRefused,
            Io::HostUnreachable | Io::NetworkUnreachable | Io::NetworkDown | Io::AddrNotAvailable => {
                Self::NoRoute
            }
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::BrokenPipe
            | Io::UnexpectedEof
            | Io::NotConnected => Self::Cut,
            Io::TimedOut => Self::Slow,
            // How a TLS library tells the I/O layer that it does not like what it read.
            Io::InvalidData => Self::Tls(Handshake::Other),
            _ => return None,
        })
    }

    /// In words that read on after "cannot reach …:".
    pub const fn text(self) -> &'static str {
        match self {
            Self::ConnectionRefused => "connection refused",
            Self::NoRoute => "no route to the host",
            Self::Cut => "the connection was cut",
            Self::Tls(handshake) => handshake.text(),
            Self::Slow => "no connection in time",
            Self::Unresolved => "the host name does not resolve",
            Self::Other => "the request did not get through",
        }
    }
}

/// The credentials that could not be loaded: the SDK reports them as a request that it could not send.
pub fn credentials_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a CredentialsError> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes. An `io::Error` hides its own cause: its `source` is the source of what it wraps.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(wrapper) => wrapper.get_ref().map(|inner| inner as _),
        None => error.source(),
    })
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use rustls::{CertificateError, InvalidMessage};

    use super::*;

    /// As hyper wraps it: an I/O error within an I/O error within something else.
    fn wrapped(inner: io::Error) -> Obstacle {
        Obstacle::of(&ConnectorError::io(io::Error::other(inner).into()), false)
    }

    #[test]
    fn the_outermost_that_says_something_counts() {
        for (kind, obstacle) in [
            (io::ErrorKind::ConnectionRefused, Obstacle::ConnectionRefused),
            (io::ErrorKind::ConnectionReset, Obstacle::Cut),
            (io::ErrorKind::HostUnreachable, Obstacle::NoRoute),
            (io::ErrorKind::InvalidData, Obstacle::Tls(Handshake::Other)),
            (io::ErrorKind::TimedOut, Obstacle::Slow),
            (io::ErrorKind::Other, Obstacle::Other),
        ] {
            assert_eq!(wrapped(io::Error::new(kind, "hunter2")), obstacle);
        }
        assert_eq!(Obstacle::of(&ConnectorError::timeout("x".into()), true), Obstacle::Slow);
    }

    #[test]
    fn a_handshake_that_fails_says_why() {
        use CertificateError as Certificate;
        use rustls::Error as Tls;
        for (error, handshake) in [
            (Tls::InvalidCertificate(Certificate::UnknownIssuer), Handshake::Untrusted),
            (Tls::InvalidCertificate(Certificate::BadSignature), Handshake::Untrusted),
            (Tls::InvalidCertificate(Certificate::NotValidForName), Handshake::OtherName),
            (Tls::InvalidCertificate(Certificate::Expired), Handshake::OutOfDate),
            (Tls::InvalidCertificate(Certificate::NotValidYet), Handshake::OutOfDate),
            (Tls::InvalidCertificate(Certificate::Revoked), Handshake::Other),
            (Tls::InvalidMessage(InvalidMessage::InvalidContentType), Handshake::NoTls),
            (Tls::DecryptError, Handshake::Other),
        ] {
            let inner = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(wrapped(inner), Obstacle::Tls(handshake));
        }
    }

    #[test]
    fn credentials_are_found_in_the_request_that_was_not_sent() {
        let error = ConnectorError::other(CredentialsError::not_loaded("x").into(), None);
        assert!(matches!(credentials_error(&error), Some(CredentialsError::CredentialsNotLoaded(_))));
        assert!(credentials_error(&ConnectorError::timeout("x".into())).is_none());
    }
}
