//! Tells the benchmark which profile it was built with: cargo's `PROFILE` is `debug` or `release` for every one that inherits from these.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    // As in `target/dist/build/fetch-etl-bench-0123456789abcdef/out`, also with a target's name in it.
    let profile = Path::new(&out).ancestors().find(|directory| directory.ends_with("build"));
    let profile = profile.and_then(|build| build.parent()?.file_name()?.to_str());
    println!("cargo::rustc-env=FETCH_ETL_BENCH_PROFILE={}", profile.unwrap_or("unknown"));
}
