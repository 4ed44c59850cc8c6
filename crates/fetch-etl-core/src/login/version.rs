/// `app_version` as one number that sorts like the version: major·1,000,000 + minor·1,000 + patch.
///
/// ```
/// use fetch_etl_core::login::AppVersion;
///
/// assert_eq!(AppVersion::parse("2.3.0").map(|v| v.number()), Ok(Some(2_003_000)));
/// assert_eq!(AppVersion::parse("4.8").map(|v| v.number()), Ok(Some(4_008_000)));
/// assert_eq!(AppVersion::parse("1.2.3.4").map(|v| v.number()), Ok(None));
/// assert!(AppVersion::parse("two.three").is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppVersion(Option<i32>);

/// The text is not made of decimal numbers with dots between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not numbers with dots between them")]
pub struct InvalidVersion;

impl AppVersion {
    /// Reads one or more decimal numbers with dots between them.
    ///
    /// # Errors
    /// Anything else, the empty text included.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        let mut parts = [Some(0_i32); 3];
        let mut count = 0;
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(InvalidVersion);
            }
            if let Some(slot) = parts.get_mut(count) {
                *slot = part.parse().ok();
            }
            count += 1;
        }
        let [major, minor, patch] = parts;
        let number = if count <= parts.len() { combine(major, minor, patch) } else { None };
        Ok(Self(number))
    }

    /// The number; `None` where it cannot hold the version: more than three parts, a minor or patch over 999, overflow.
    pub const fn number(self) -> Option<i32> {
        self.0
    }
}

fn combine(major: Option<i32>, minor: Option<i32>, patch: Option<i32>) -> Option<i32> {
    // A minor or patch over 999 would run into its neighbour; the major part is bounded by the column alone.
    let minor = minor.filter(|&part| part <= 999)?;
    let patch = patch.filter(|&part| part <= 999)?;
    major?.checked_mul(1_000_000)?.checked_add(minor * 1_000 + patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_number_cannot_hold_is_none() {
        for (text, number) in [
            ("0", Some(0)),
            ("5", Some(5_000_000)),
            ("007.1", Some(7_001_000)),
            ("2147.483.647", Some(i32::MAX)),
            ("2147.483.648", None),
            ("2148", None),
            ("1.1000", None),
            ("1.0.1000", None),
            ("1.20000.3", None),
            ("99999999999999999999", None),
            ("1.2.3.4", None),
            ("1.2.3.4.5", None),
        ] {
            assert_eq!(AppVersion::parse(text), Ok(AppVersion(number)), "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_invalid() {
        for text in ["", ".", "1.", ".1", "1..2", "-1.2", "+1", "1.2b", "two.three", " 1", "1 ", "١"] {
            assert_eq!(AppVersion::parse(text), Err(InvalidVersion), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_sort_like_versions(a in (0..2147_i32, 0..1000_i32, 0..1000_i32), b in (0..2147_i32, 0..1000_i32, 0..1000_i32)) {
            let number = |(major, minor, patch): (i32, i32, i32)| {
                AppVersion::parse(&format!("{major}.{minor}.{patch}")).unwrap().number().unwrap()
            };
            prop_assert_eq!(number(a).cmp(&number(b)), a.cmp(&b));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            let _ = AppVersion::parse(&text);
        }
    }
}
