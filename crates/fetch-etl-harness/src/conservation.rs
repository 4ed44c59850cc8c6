//! What a worker says of itself when it ends.

use std::str::FromStr;

/// The worker's account of a run: `received 9 = inserted 7 + duplicates 1 + quarantined 0 + returned 1 + in flight 0`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conservation {
    /// Deliveries received.
    pub received: u64,
    /// Rows stored.
    pub inserted: u64,
    /// Rows that were stored before.
    pub duplicates: u64,
    /// Rejects that the quarantine holds with their bodies.
    pub quarantined: u64,
    /// Deliveries given back, or whose lease was lost.
    pub returned: u64,
    /// What had no outcome yet; below 0 if something was counted twice.
    pub in_flight: i64,
}

impl Conservation {
    /// Finds the account in what a worker printed to stdout, and checks it.
    ///
    /// # Errors
    /// There is none, its sum is wrong, or something was left without an outcome.
    pub fn settled(stdout: &str) -> Result<Self, String> {
        let line = stdout.lines().find(|line| line.starts_with("received "));
        let account: Self = line.ok_or("the worker printed no account of its run")?.parse()?;
        let Self { received, inserted, duplicates, quarantined, returned, in_flight } = account;
        if in_flight != 0 || received != inserted + duplicates + quarantined + returned {
            return Err(format!("what was received is not what became of it: {account:?}"));
        }
        Ok(account)
    }
}

impl FromStr for Conservation {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        const NAMES: [&str; 6] =
            ["received", "inserted", "duplicates", "quarantined", "returned", "in flight"];
        let not_one = || format!("this is no account of a run: {line}");
        let mut numbers = [0_i64; NAMES.len()];
        let mut parts = line.split([' ', '=', '+']).filter(|word| !word.is_empty());
        for (number, name) in numbers.iter_mut().zip(NAMES) {
            for word in name.split(' ') {
                (parts.next() == Some(word)).then_some(()).ok_or_else(not_one)?;
            }
            *number = parts.next().and_then(|word| word.parse().ok()).ok_or_else(not_one)?;
        }
        let [received, inserted, duplicates, quarantined, returned, in_flight] = numbers;
        let count = |number: i64| u64::try_from(number).map_err(|_| not_one());
        Ok(Self {
            received: count(received)?,
            inserted: count(inserted)?,
            duplicates: count(duplicates)?,
            quarantined: count(quarantined)?,
            returned: count(returned)?,
            in_flight,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_and_checked() {
        let line = "received 9 = inserted 5 + duplicates 1 + quarantined 2 + returned 1 + in flight 0";
        let expected = Conservation {
            received: 9,
            inserted: 5,
            duplicates: 1,
            quarantined: 2,
            returned: 1,
            in_flight: 0,
        };
        assert_eq!(Conservation::settled(&format!("{line}\n3 unknown fields were dropped\n")), Ok(expected));
        for wrong in [
            "received 9 = inserted 6 + duplicates 1 + quarantined 2 + returned 1 + in flight 0",
            "received 9 = inserted 4 + duplicates 1 + quarantined 2 + returned 1 + in flight 1",
            "received 9 = inserted 6 + duplicates 1 + quarantined 2 + returned 1 + in flight -1",
            "received nine",
            "",
        ] {
            assert!(Conservation::settled(wrong).is_err(), "{wrong}");
        }
    }
}
