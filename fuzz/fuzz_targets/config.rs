//! See [`fetch_etl_fuzz::config`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fetch_etl_fuzz::config::check(data));
