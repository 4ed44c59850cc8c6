//! See [`fetch_etl_fuzz::open_sealed`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fetch_etl_fuzz::open_sealed::check(data));
