//! Hundreds of thousands of byte sequences, looked for at once.
//!
//! All are at least eight bytes long. The last eight of each are its key (the first ones of many are alike: zeros above all, and
//! streams have many zeros); a bit map says which keys there may be, so that nearly all positions of a stream cost one look at two
//! megabytes, which a cache holds. An Aho-Corasick automaton of 300,000 needles took 354 MB
//! to build, and 83 MB to keep.

use crate::encoding::MIN_NEEDLE;

/// 2²⁴ bits: with 300,000 keys one position in 56 is looked at more closely.
const MAP_BITS: u32 = 24;

/// The first bits of a key that lead to its place in the list.
const DIRECTORY_BITS: u32 = 16;

/// Needles one behind the other: half a million small vectors would cost more than what is in them.
#[derive(Default)]
pub(crate) struct NeedleBytes {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl NeedleBytes {
    /// Adds one, of at least [`MIN_NEEDLE`] bytes; its number is how many there were before.
    pub(crate) fn push(&mut self, needle: &[u8]) {
        debug_assert!(needle.len() >= MIN_NEEDLE, "shorter needles are left out where they are made");
        self.bytes.extend_from_slice(needle);
        self.ends.push(self.bytes.len() as u32);
    }

    fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start as usize..self.ends[number] as usize]
    }
}

pub(crate) struct Needles {
    needles: NeedleBytes,
    longest: usize,
    map: Vec<u64>,
    /// Keys with their needles' numbers, in order.
    keys: Vec<(u64, u32)>,
    /// Where the keys with these first bits begin.
    directory: Vec<u32>,
}

impl Needles {
    pub(crate) fn new(needles: NeedleBytes) -> Self {
        let numbers = 0..needles.ends.len() as u32;
        let mut keys: Vec<_> =
            numbers.clone().filter_map(|number| Some((key(needles.get(number))?, number))).collect();
        keys.sort_unstable();
        let mut map = vec![0; 1 << (MAP_BITS - 6)];
        for &(key, _) in &keys {
            let bit = key >> (64 - MAP_BITS);
            map[(bit >> 6) as usize] |= 1 << (bit & 63);
        }
        let directory = (0..=1_u64 << DIRECTORY_BITS)
            .map(|bits| keys.partition_point(|(key, _)| key >> (64 - DIRECTORY_BITS) < bits) as u32)
            .collect();
        let longest = numbers.map(|number| needles.get(number).len()).max().unwrap_or(1);
        Self { needles, longest, map, keys, directory }
    }

    /// Bytes of the longest needle; 1 where there is none.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells of every needle that ends behind the first `known` of the bytes, where it begins.
    pub(crate) fn find(&self, bytes: &[u8], known: usize, mut found: impl FnMut(usize, u32)) {
        let first = (known + 1).saturating_sub(MIN_NEEDLE);
        let windows = bytes.get(first..).unwrap_or_default().windows(MIN_NEEDLE);
        for (at, window) in windows.enumerate() {
            let Some(key) = key(window) else { continue };
            let bit = key >> (64 - MAP_BITS);
            if self.map[(bit >> 6) as usize] & (1 << (bit & 63)) != 0 {
                let until = &bytes[..first + at + MIN_NEEDLE];
                for number in self.with_key(key) {
                    let needle = self.needles.get(number);
                    if until.ends_with(needle) {
                        found(until.len() - needle.len(), number);
                    }
                }
            }
        }
    }

    fn with_key(&self, wanted: u64) -> impl Iterator<Item = u32> + '_ {
        let bits = (wanted >> (64 - DIRECTORY_BITS)) as usize;
        let keys = &self.keys[self.directory[bits] as usize..self.directory[bits + 1] as usize];
        let first = keys.partition_point(|(key, _)| *key < wanted);
        keys[first..].iter().take_while(move |(key, _)| *key == wanted).map(|(_, number)| *number)
    }
}

/// The last eight bytes, stirred so that the first bits of the result depend on all of them; no two are stirred into one.
fn key(bytes: &[u8]) -> Option<u64> {
    let last = u64::from_le_bytes(*bytes.last_chunk()?);
    // An odd factor (the golden ratio) moves low bits up; the shift brings the high ones down before.
    let folded = last ^ (last >> 32);
    Some(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
