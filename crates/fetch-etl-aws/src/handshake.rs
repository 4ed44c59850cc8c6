//! Why a TLS handshake failed.

use rustls::{CertificateError as Certificate, Error, InvalidMessage};

/// What was wrong with who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// A certificate of no authority that is trusted.
    Untrusted,
    /// A certificate for another name.
    OtherName,
    /// A certificate that is not valid any more, or not yet.
    OutOfDate,
    /// Something that does not speak TLS.
    NoTls,
    /// Something else.
    Other,
}

impl Handshake {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(certificate) => Self::of_certificate(certificate),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NoTls,
            _ => Self::Other,
        }
    }

    fn of_certificate(error: &Certificate) -> Self {
        match error {
            // A bad signature: an authority of the same name, with another key.
            Certificate::UnknownIssuer | Certificate::BadSignature => Self::Untrusted,
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => Self::OtherName,
            Certificate::Expired
            | Certificate::ExpiredContext { .. }
            | Certificate::NotValidYet
            | Certificate::NotValidYetContext { .. } => Self::OutOfDate,
            _ => Self::Other,
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Untrusted => {
                "the TLS handshake failed: the certificate is of no authority trusted here (SSL_CERT_FILE names them)"
            }
            Self::OtherName => "the TLS handshake failed: the certificate is for another name",
            Self::OutOfDate => "the TLS handshake failed: the certificate has expired, or is not valid yet",
            Self::NoTls => "the TLS handshake failed: what answers does not speak TLS",
            Self::Other => "the TLS handshake failed",
        }
    }
}
