//! What is sent: valid logins, all different in who and, as wanted, in what is masked.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

/// Which values the masked fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Values {
    /// Each one for the first time.
    New,
    /// A thousand different ones.
    Repeating,
}

const REPEATED: u64 = 1_000;

impl Values {
    /// As part of a file's name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Repeating => "repeating",
        }
    }
}

/// The login with this number, as JSON; six fields, some 150 bytes, as the samples have.
pub(crate) fn login(number: u64, values: Values) -> String {
    let value = match values {
        Values::New => number,
        Values::Repeating => number % REPEATED,
    };
    // Spread over the range, so that neighbours do not look alike; the multiplier is odd, so no two numbers meet.
    let spread = (value as u32).wrapping_mul(2_654_435_761);
    let [a, b, c, d] = spread.to_be_bytes();
    let device_type = if number.is_multiple_of(2) { "ios" } else { "android" };
    let locale = ["US", "DE", "BR", "IN"][(number % 4) as usize];
    let (major, minor, patch) = (number % 9, number % 31, number % 7);
    format!(
        "{{\"user_id\":\"424cdd21-063a-43a7-b91b-{number:012}\",\"app_version\":\"{major}.{minor}.{patch}\",\
         \"device_type\":\"{device_type}\",\"ip\":\"{a}.{b}.{c}.{d}\",\"locale\":\"{locale}\",\"device_id\":\"593-47-{spread:010}\"}}"
    )
}

/// Writes a backlog for `fetch-etl-local-sqs --load`, a message a line.
pub(crate) fn write_backlog(path: &Path, messages: u64, values: Values) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in 0..messages {
        writeln!(file, "{}", login(number, values))?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fetch_etl_core::login::LoginSchema;
    use fetch_etl_core::{EventSchema as _, Pii};
    use fetch_etl_mask::Sha512Masker;

    use super::*;

    fn masked(number: u64, values: Values) -> String {
        let body = login(number, values);
        let decoded = LoginSchema.decode_and_mask(Pii::wrap(body.as_bytes()), &Sha512Masker).unwrap();
        assert_eq!((decoded.unknown_fields, decoded.non_canonical), (0, 0), "{body}");
        decoded.row.masked_ip.unwrap().to_text() + &decoded.row.masked_device_id.unwrap().to_text()
    }

    #[test]
    fn every_login_is_valid_and_its_values_are_new_or_not() {
        let masks = |values| (0..3_000).map(|number| masked(number, values)).collect::<BTreeSet<_>>().len();
        assert_eq!(masks(Values::New), 3_000);
        assert_eq!(masks(Values::Repeating), 1_000);
    }
}
