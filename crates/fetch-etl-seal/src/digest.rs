//! Shortened digests.

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// The first bytes of SHA-256.
pub(crate) fn sha256_start<const N: usize>(bytes: &[u8]) -> [u8; N] {
    const { assert!(N <= SHA256_OUTPUT_LEN) };
    let mut start = [0; N];
    start.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_that_of_the_standards_example() {
        assert_eq!(sha256_start(b"abc"), [0xBA, 0x78, 0x16, 0xBF, 0x8F, 0x01, 0xCF, 0xEA]);
    }
}
