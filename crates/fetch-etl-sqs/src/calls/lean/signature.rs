//! Signature Version 4 of the one kind of request that is made here.
//!
//! The SDK's own signer takes any request apart anew, and derives the key of the day from the secret each time: that was a tenth of the
//! worker's instructions, and nearly half of its SHA-256. What is signed is written down directly instead, with the same headers; the keyed
//! hashes stay the SDK's.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use http::{HeaderValue, Uri};
use sha2::{Digest as _, Sha256};

/// What the content of a request is.
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.0";
/// The value of the header that asks for error codes of the older query protocol.
pub(super) const QUERY_MODE: &str = "true";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs requests to one address.
pub(super) struct Signer {
    host: String,
    path: String,
    region: String,
    /// What the service is called in a signature.
    service: String,
    key: Mutex<Option<Arc<Key>>>,
}

/// What all signatures of one second have in common.
struct Key {
    credentials: Credentials,
    seconds: u64,
    /// As `20231114T221320Z`.
    time: String,
    scope: String,
    key: Vec<u8>,
}

/// The headers that make a request a signed one.
pub(super) struct Signature {
    pub(super) date: HeaderValue,
    pub(super) authorization: HeaderValue,
    pub(super) token: Option<HeaderValue>,
}

impl Signer {
    /// `None` where requests would need a query: those of SQS have none.
    pub(super) fn new(uri: &Uri, region: String, service: String) -> Option<Self> {
        if uri.query().is_some() {
            return None;
        }
        let (host, path) = (host(uri)?.to_owned(), canonical_path(uri.path()));
        Some(Self { host, path, region, service, key: Mutex::default() })
    }

    /// `None` for what cannot stand in a request: credentials with a line break, say.
    pub(super) fn sign(
        &self,
        target: &str,
        body: &[u8],
        credentials: &Credentials,
        time: SystemTime,
    ) -> Option<Signature> {
        let key = self.key(credentials, time)?;
        let token = credentials.session_token();
        // In the order of their names.
        let (token_name, token_line) = match token {
            Some(token) => ("x-amz-security-token;", format!("x-amz-security-token:{token}\n")),
            None => ("", String::new()),
        };
        let names = format!("content-type;host;x-amz-date;{token_name}x-amz-target;x-amzn-query-mode");
        let mut text = String::with_capacity(512 + token_line.len());
        let _ = write!(
            text,
            "POST\n{}\n\ncontent-type:{CONTENT_TYPE}\nhost:{}\nx-amz-date:{}\n{token_line}x-amz-target:{target}\n\
             x-amzn-query-mode:{QUERY_MODE}\n\n{names}\n",
            self.path, self.host, key.time,
        );
        push_sha256(&mut text, body);
        let mut to_sign = format!("{ALGORITHM}\n{}\n{}\n", key.time, key.scope);
        push_sha256(&mut to_sign, text.as_bytes());
        let signature = calculate_signature(&key.key, to_sign.as_bytes());
        let (id, scope) = (credentials.access_key_id(), &key.scope);
        let authorization =
            format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        Some(Signature {
            date: HeaderValue::from_str(&key.time).ok()?,
            authorization: sensitive(&authorization)?,
            token: match token {
                Some(token) => Some(sensitive(token)?),
                None => None,
            },
        })
    }

    /// Derived anew each second: what it is derived from hardly ever changes, and never within one.
    fn key(&self, credentials: &Credentials, time: SystemTime) -> Option<Arc<Key>> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        // No code that can panic runs under this lock.
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*known
            && key.seconds == seconds
            && key.credentials == *credentials
        {
            return Some(key.clone());
        }
        let key = Arc::new(self.derive(credentials.clone(), seconds, time)?);
        *known = Some(key.clone());
        Some(key)
    }

    fn derive(&self, credentials: Credentials, seconds: u64, time: SystemTime) -> Option<Key> {
        let iso = DateTime::from_secs(i64::try_from(seconds).ok()?).fmt(Format::DateTime).ok()?;
        let time_text = iso.replace(['-', ':'], "");
        let (region, service) = (&*self.region, &*self.service);
        let scope = format!("{}/{region}/{service}/aws4_request", time_text.get(..8)?);
        let key = generate_signing_key(credentials.secret_access_key(), time, region, service);
        Some(Key { seconds, time: time_text, scope, key: key.as_ref().to_vec(), credentials })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("host", &self.host).field("path", &self.path).finish_non_exhaustive()
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Appends a hash, hexadecimal.
fn push_sha256(text: &mut String, bytes: &[u8]) {
    text.push_str(&hex::encode(Sha256::digest(bytes)));
}

/// What stands in the header `Host`: HTTP clients leave out a port that goes without saying.
fn host(uri: &Uri) -> Option<&str> {
    let port = uri.port_u16();
    match (uri.scheme_str(), port) {
        (Some("http"), Some(80)) | (Some("https"), Some(443)) => uri.host(),
        _ => Some(uri.authority()?.as_str()),
    }
}

/// Without dots and empty segments, and encoded, although it is so already: AWS has it twice.
fn canonical_path(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut canonical = String::new();
    for segment in &segments {
        canonical.push('/');
        for byte in segment.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    canonical.push(char::from(byte));
                }
                _ => drop(write!(canonical, "%{byte:02X}")),
            }
        }
    }
    let is_directory = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    if is_directory || segments.is_empty() {
        canonical.push('/');
    }
    canonical
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningParams, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use proptest::prelude::*;

    use super::*;

    /// The same by the SDK's signer: the authorization and the date.
    fn reference(
        uri: &str,
        (region, service): (&str, &str),
        target: &str,
        body: &[u8],
        credentials: &Credentials,
        time: SystemTime,
    ) -> (String, String) {
        let headers = [
            ("content-type", CONTENT_TYPE),
            ("x-amz-target", target),
            ("x-amzn-query-mode", QUERY_MODE),
            ("user-agent", "us"),
        ];
        let request =
            SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(time)
            .settings(SigningSettings::default())
            .build()
            .unwrap();
        let (signed, _) = sign(request, &SigningParams::V4(parameters)).unwrap().into_parts();
        let header = |name| signed.headers().find(|(key, _)| *key == name).unwrap().1.to_owned();
        (header("authorization"), header("x-amz-date"))
    }

    fn credentials(token: Option<String>) -> Credentials {
        Credentials::new("AKIDEXAMPLE", "a/secret+of=ours", token, None, "test")
    }

    proptest! {
        #[test]
        fn signatures_are_the_sdks(
            base in "https?://[a-z]{1,8}(\\.[a-z]{1,5}){0,2}(:80|:443|:9324)?",
            path in "((/[a-zA-Z0-9%!$&'()*+,;=:@_~.-]{0,3}|/\\.|/\\.\\.){0,4}/?)?",
            target in "[A-Za-z.]{1,20}",
            body in any::<Vec<u8>>(),
            token in prop::option::of("[A-Za-z0-9+/=]{1,40}"),
            seconds in 0..5_000_000_000_u64,
            millis in 0..1000_u64,
        ) {
            let text = format!("{base}{path}");
            let uri: Uri = text.parse().unwrap();
            let (credentials, scope) = (credentials(token.clone()), ("eu-west-1", "sqs"));
            let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
            let signer = Signer::new(&uri, scope.0.into(), scope.1.into()).unwrap();
            let (authorization, date) = reference(&text, scope, &target, &body, &credentials, time);
            // The second time by the key that is known.
            for _ in 0..2 {
                let signature = signer.sign(&target, &body, &credentials, time).unwrap();
                prop_assert_eq!(signature.authorization.to_str().unwrap(), &authorization);
                prop_assert_eq!(signature.date.to_str().unwrap(), &date);
                prop_assert_eq!(signature.token.map(|token| token.to_str().unwrap().to_owned()), token.clone());
            }
        }
    }

    #[test]
    fn a_key_is_for_its_credentials_and_its_second_only() {
        let uri: Uri = "https://sqs.eu-west-1.amazonaws.com/".parse().unwrap();
        let signer = Signer::new(&uri, "eu-west-1".into(), "sqs".into()).unwrap();
        let others = Credentials::new("AKIDEXAMPLE", "another secret", None, None, "test");
        for (credentials, seconds) in [
            (credentials(None), 86_399),
            (others.clone(), 86_399),
            (others, 86_400),
            (credentials(Some("t".into())), 86_400),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            let expected = reference(&uri.to_string(), ("eu-west-1", "sqs"), "T", b"{}", &credentials, time);
            let signature = signer.sign("T", b"{}", &credentials, time).unwrap();
            assert_eq!(signature.authorization.to_str().unwrap(), expected.0, "{seconds}");
            assert!(signature.authorization.is_sensitive());
        }
    }

    #[test]
    fn what_cannot_be_signed_is_none_and_nothing_secret_is_shown() {
        assert!(Signer::new(&"http://q/?a=b".parse().unwrap(), "r".into(), "s".into()).is_none());
        let signer = Signer::new(&"http://q/".parse().unwrap(), "r".into(), "s".into()).unwrap();
        for credentials in
            [Credentials::new("a\nb", "s", None, None, "test"), credentials(Some("t\n".into()))]
        {
            assert!(signer.sign("T", b"", &credentials, UNIX_EPOCH).is_none());
        }
        assert!(signer.sign("T", b"", &credentials(None), UNIX_EPOCH).is_some());
        assert!(!format!("{signer:?}").contains("secret"));
    }
}
