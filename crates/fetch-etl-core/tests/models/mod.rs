//! The pipeline against models that are simple enough to be right: random lives of a queue and of a sink, on a paused clock.
//!
//! The cases are the same in every run: what is random is drawn from fixed seeds.

mod conservation;
mod leases;
mod ledger;
mod witness;

use std::future::Future;

use fetch_etl_core::{MessageKey, Pii, SealError, SealedBody, Sealer};
use proptest::test_runner::{Config, RngSeed};

/// So many lives of each model take a second or two in a debug build.
const CASES: u32 = 64;

/// `PROPTEST_CASES` and `PROPTEST_RNG_SEED` stand for longer and other runs.
fn config(seed: u64) -> Config {
    let from_environment = Config::default();
    let set = |name| std::env::var_os(name).is_some();
    Config {
        cases: if set("PROPTEST_CASES") { from_environment.cases } else { CASES },
        rng_seed: if set("PROPTEST_RNG_SEED") { from_environment.rng_seed } else { RngSeed::Fixed(seed) },
        failure_persistence: None,
        ..from_environment
    }
}

/// Lives one case on a clock of its own that jumps to the next event. `seed` decides the jitter of every backoff.
fn on_a_paused_clock<F: Future>(seed: u64, case: F) -> F::Output {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(case)
}

/// A login that nobody else sent.
fn login(user: &str) -> String {
    format!(
        r#"{{"user_id":"{user}","app_version":"2.3.0","device_type":"ios","ip":"192.0.2.1","locale":"US","device_id":"{user}"}}"#
    )
}

/// Keeps a body's length: enough where only the way of a sealed body matters.
struct LengthSealer;

impl Sealer for LengthSealer {
    fn seal(&self, _: &MessageKey, body: &Pii<[u8]>) -> Result<SealedBody, SealError> {
        Ok(SealedBody::new("test", body.expose().len().to_be_bytes().to_vec()))
    }
}
