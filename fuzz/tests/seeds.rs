//! The checks hold for the seeds, and for the seeds with each byte damaged in turn: a smoke test that needs no libFuzzer.

use fetch_etl_fuzz::{canonical_ip, decode, keys, open_sealed, seeds};

fn check(target: &str, data: &[u8]) {
    match target {
        "decode" => decode::check(data),
        "canonical_ip" => canonical_ip::check(data),
        "open_sealed" => open_sealed::check(data),
        "keys" => keys::check(data),
        #[cfg(feature = "worker")]
        "config" => fetch_etl_fuzz::config::check(data),
        _ => panic!("no target {target}"),
    }
}

#[test]
fn every_check_holds_for_its_seeds() {
    let seeds = seeds::all();
    for target in ["decode", "canonical_ip", "open_sealed", "keys"] {
        assert!(seeds.iter().any(|seed| seed.target == target), "no seed for {target}");
    }
    for seed in seeds {
        check(seed.target, &seed.data);
    }
}

#[test]
fn every_check_holds_for_damaged_seeds() {
    for seed in seeds::all() {
        // A private key operation of RSA takes milliseconds: of long seeds a few places are enough.
        let step = seed.data.len() / 60 + 1;
        for place in (0..seed.data.len()).step_by(step) {
            let mut damaged = seed.data.clone();
            damaged[place] ^= 1 << (place % 8);
            check(seed.target, &damaged);
            check(seed.target, &seed.data[..place]);
        }
    }
}
