//! `limit.mask`: decoding and masking on one core, as the worker does both.

use std::hint::black_box;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::{EventSchema as _, KeyId, Masker, Pii};
use fetch_etl_mask::{HmacSha512Masker, MasterKey, Sha512Masker};

use super::{MaskMethod, Stretch};
use crate::Result;
use crate::load::{Values, login};

/// Different messages; more than fit into the first caches.
const BODIES: u64 = 10_000;

pub(super) fn run(messages: u64, method: MaskMethod) -> Result<()> {
    let masker: Box<dyn Masker> = match method {
        MaskMethod::Sha512 => Box::new(Sha512Masker),
        MaskMethod::Hmac => {
            let key: Vec<u8> = (0..32).collect();
            let masker = HmacSha512Masker::new(&MasterKey::from_bytes(key)?, KeyId::new(1), "default")?;
            Box::new(masker.with_fields(["ip", "device_id"]))
        }
    };
    let bodies: Vec<_> = (0..BODIES).map(|number| login(number, Values::New).into_bytes()).collect();
    let stretch = Stretch::begin()?;
    for body in bodies.iter().cycle().take(usize::try_from(messages)?) {
        let decoded = LoginSchema.decode_and_mask(Pii::wrap(black_box(body.as_slice())), &*masker);
        black_box(&decoded.map_err(|reject| reject.to_string())?);
    }
    stretch.end(messages)
}
