//! Values that are never shown, and addresses that may hold one.

use std::fmt;

use serde::Deserialize;
use zeroize::Zeroize as _;

/// What stands in the place of a secret.
pub const HIDDEN: &str = "[hidden]";

/// A secret: its `Debug` prints `[hidden]`, and it has no `Display` and no `Serialize`. It is overwritten with zeros when it is dropped;
/// what the library that reads configurations copied on the way, and the environment, are out of reach.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for whoever it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// An address with its password, and every parameter that sounds like one, replaced.
///
/// It hides too much rather than too little: a password may hold `/`, `?` and `@` where it should have been encoded.
pub fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // No address, as far as one can tell: a mistyped one may still hold `name:password@`.
        return if url.contains('@') { HIDDEN.to_owned() } else { hide_parameters(url) };
    };
    let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    if user.split(['?', '&']).skip(1).any(is_secret_parameter) {
        // The `@` is part of a parameter's value, and so may be what comes after it.
        return format!("{scheme}://{HIDDEN}");
    }
    let user = match user.split_once(':') {
        Some((name, _)) => format!("{name}:{HIDDEN}@"),
        None if user.is_empty() => String::new(),
        None => format!("{user}@"),
    };
    format!("{scheme}://{user}{}", hide_parameters(host))
}

fn hide_parameters(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let hide = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if is_secret_parameter(parameter) => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    };
    let parameters: Vec<_> = query.split('&').map(hide).collect();
    format!("{path}?{}", parameters.join("&"))
}

fn is_secret_parameter(parameter: &str) -> bool {
    let Some((name, _)) = parameter.split_once('=') else { return false };
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "pwd"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some([hidden])");
    }

    #[test]
    fn passwords_in_addresses_are_hidden() {
        for (url, shown) in [
            ("postgres://etl:hunter2@db:5432/logins", "postgres://etl:[hidden]@db:5432/logins"),
            ("postgres://etl:hun/ter@2?@db/logins", "postgres://etl:[hidden]@db/logins"),
            ("postgres://etl@db/logins", "postgres://etl@db/logins"),
            ("postgres://db/logins?user=a&password=hunter2", "postgres://db/logins?user=a&password=[hidden]"),
            ("postgres://db/logins?password=hun@ter2", "postgres://[hidden]"),
            ("postgres://etl@db:5432/logins?a=b&password=hun@ter2&c=d", "postgres://[hidden]"),
            ("postgres:etl:hunter2@db/logins", "[hidden]"),
            ("sqlite://logins.sqlite?mode=rwc", "sqlite://logins.sqlite?mode=rwc"),
            ("https://sqs.eu-west-1.amazonaws.com/1/logins", "https://sqs.eu-west-1.amazonaws.com/1/logins"),
            ("logins", "logins"),
        ] {
            assert_eq!(hide_password(url), shown);
        }
    }
}
