//! Workers that do with a value what none may do: the ways in which a leak looks in practice, for a test that must find them.
//!
//! Everything but the masker is what `run` uses: the source, the pipeline, the sink, the logs, the panic hook.

use std::sync::Arc;

use fetch_etl_core::{KeyId, MaskedValue, Masker, Pii};
use tracing::info;

use crate::cli::{LeakTestWorkerArgs, Misdeed};
use crate::commands::run::run_with;
use crate::failure::{ExitCode, Failure};
use crate::report;
use crate::settings::{Inputs, Loaded, SourceSettings};

/// Works off the queue of a leak test. Any other queue is refused: its messages are not made up.
pub(in crate::commands) async fn run(args: &LeakTestWorkerArgs) -> Result<ExitCode, Failure> {
    let settings = Loaded::read(&Inputs::new(None, Vec::new()))?.settings()?;
    if !is_local(&settings.source) {
        return Err(Failure::usage(
            "this command leaks what it reads; it reads from a queue on 127.0.0.1 only",
        ));
    }
    let misdeed = args.masker;
    run_with(settings, |masker| Arc::new(BadMasker { masker, misdeed }), true).await
}

fn is_local(source: &SourceSettings) -> bool {
    let port = source.endpoint_url.as_deref().and_then(|url| url.strip_prefix("http://127.0.0.1:"));
    port.is_some_and(|port| port.trim_end_matches('/').parse::<u16>().is_ok())
}

struct BadMasker {
    masker: Arc<dyn Masker>,
    misdeed: Misdeed,
}

impl Masker for BadMasker {
    fn mask(&self, field: &str, value: &Pii<str>) -> Option<MaskedValue> {
        match self.misdeed {
            Misdeed::Panic => panic!("cannot mask {field}: {}", value.expose()),
            Misdeed::Print => report::print(&format!("{field} = {}\n", value.expose())),
            Misdeed::Log => info!(event = "masked", field, value = value.expose(), "masked a value"),
            Misdeed::Store => return Some(MaskedValue::from_masked_text(value.expose())),
        }
        self.masker.mask(field, value)
    }

    fn key_id(&self) -> KeyId {
        self.masker.key_id()
    }
}
