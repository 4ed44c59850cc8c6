//! See [`fetch_etl_fuzz::decode`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fetch_etl_fuzz::decode::check(data));
