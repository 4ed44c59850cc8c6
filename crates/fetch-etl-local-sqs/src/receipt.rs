//! Receipt handles: opaque to clients, self-checking for us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a receipt handle stands for: one delivery of one message of one queue.
///
/// The slot is reused when its message goes, so the serial number tells whether it is still the same message, and
/// the delivery tells whether the message was received again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) slot: u32,
    pub(crate) delivery: u32,
    pub(crate) serial: u64,
}

const RAW_LENGTH: usize = 24;
const TEXT_LENGTH: usize = RAW_LENGTH / 3 * 4;

/// Turns receipts into handles and back. Each queue has its own seal, so that a handle of another queue, or one
/// that somebody made up, is refused as malformed instead of hitting a message by accident.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal(u64);

impl Seal {
    pub(crate) fn new(secret: u64) -> Self {
        Self(secret)
    }

    pub(crate) fn handle(self, receipt: Receipt) -> [u8; TEXT_LENGTH] {
        let mut raw = [0; RAW_LENGTH];
        raw[..4].copy_from_slice(&receipt.slot.to_be_bytes());
        raw[4..8].copy_from_slice(&receipt.delivery.to_be_bytes());
        raw[8..16].copy_from_slice(&receipt.serial.to_be_bytes());
        raw[16..].copy_from_slice(&self.check(receipt).to_be_bytes());
        let mut text = [b'A'; TEXT_LENGTH];
        // Cannot fail: the buffer has exactly the encoded length, and no padding is used.
        let written = URL_SAFE_NO_PAD.encode_slice(raw, &mut text);
        debug_assert_eq!(written, Ok(TEXT_LENGTH));
        text
    }

    /// `None` for a text that this queue never gave out.
    pub(crate) fn open(self, handle: &str) -> Option<Receipt> {
        let mut raw = [0; RAW_LENGTH];
        if handle.len() != TEXT_LENGTH || URL_SAFE_NO_PAD.decode_slice(handle, &mut raw) != Ok(RAW_LENGTH) {
            return None;
        }
        let number = |range: std::ops::Range<usize>| {
            raw[range].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let receipt = Receipt {
            slot: u32::try_from(number(0..4)).ok()?,
            delivery: u32::try_from(number(4..8)).ok()?,
            serial: number(8..16),
        };
        (number(16..24) == self.check(receipt)).then_some(receipt)
    }

    /// Guards against mistakes, not against attackers: this server trusts whoever reaches it.
    fn check(self, receipt: Receipt) -> u64 {
        let place = u64::from(receipt.slot) << 32 | u64::from(receipt.delivery);
        mix(mix(self.0 ^ place).wrapping_add(receipt.serial))
    }
}

/// The finaliser of SplitMix64: every input bit changes half of the output bits.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(handle: [u8; TEXT_LENGTH]) -> String {
        String::from_utf8(handle.to_vec()).unwrap()
    }

    #[test]
    fn a_handle_comes_back_as_its_receipt() {
        let seal = Seal::new(42);
        for (slot, delivery, serial) in [(0, 1, 0), (7, 3, 9), (u32::MAX, u32::MAX, u64::MAX)] {
            let receipt = Receipt { slot, delivery, serial };
            assert_eq!(seal.open(&text(seal.handle(receipt))), Some(receipt));
        }
    }

    #[test]
    fn handles_that_were_never_given_out_are_malformed() {
        let seal = Seal::new(42);
        let good = text(seal.handle(Receipt { slot: 1, delivery: 1, serial: 1 }));
        for position in 0..good.len() {
            let mut forged = good.clone().into_bytes();
            forged[position] = if forged[position] == b'B' { b'C' } else { b'B' };
            assert_eq!(seal.open(&text(forged.try_into().unwrap())), None, "position {position}");
        }
        for bad in ["", "garbage", &good[1..], &format!("{good}A"), "é".repeat(16).as_str()] {
            assert_eq!(seal.open(bad), None, "{bad}");
        }
        assert_eq!(Seal::new(43).open(&good), None, "another queue's handle");
    }
}
