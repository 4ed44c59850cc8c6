//! See [`fetch_etl_fuzz::canonical_ip`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fetch_etl_fuzz::canonical_ip::check(data));
