//! Logs, and what may never be in them: everything goes to stderr, as text on a terminal and as JSON otherwise.
//!
//! `RUST_LOG` chooses what is logged of this program. It cannot open up the libraries underneath: the AWS SDK prints whole
//! responses at TRACE, message bodies included, and a database driver may quote rows and connection parameters.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Format {
    /// Text on a terminal, JSON otherwise.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// `RUST_LOG` is no list of filters.
#[derive(Debug, thiserror::Error)]
#[error("RUST_LOG: expected a list of filters such as info,fetch_etl_core=debug")]
pub struct BadFilter;

/// Starts logging, from this level on where `RUST_LOG` says nothing, and puts the panic hook in place. To be called once.
///
/// # Errors
/// `RUST_LOG` cannot be understood.
pub fn init(format: Format, level: LevelFilter) -> Result<(), BadFilter> {
    install_panic_hook(format);
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).from_env().map_err(|_| BadFilter)?;
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_log));
    let lines = tracing_subscriber::fmt::layer().with_writer(Stderr);
    match format {
        Format::Text => registry.with(lines.with_target(false)).init(),
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines).init();
        }
    }
    Ok(())
}

/// Libraries that have message bodies, rows or credentials in their hands, by the beginning of their names. They log nothing at
/// all: the AWS ones print raw responses even in warnings (`aws_config` those of the services that give out credentials), and
/// whatever goes wrong in them reaches us as an error, which is classified and told in our own words.
const SILENT: [&str; 2] = ["aws_", "sqlx"];

/// Whether a log line or a span may exist at all, whatever `RUST_LOG` says. All but this program's own crates are
/// capped at WARN, also those that nobody has thought of yet.
fn may_log(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let crate_name = target.split("::").next().unwrap_or(target);
    let own = crate_name == "etl_worker" || crate_name.starts_with("fetch_etl_");
    own || (*metadata.level() <= Level::WARN && !SILENT.iter().any(|name| crate_name.starts_with(name)))
}

/// Panics print where, never what: their message may hold an argument, and the argument a value.
pub fn install_panic_hook(format: Format) {
    panic::set_hook(Box::new(move |info| {
        // A panic is no place to give up over a closed stderr.
        let _ = io::stderr().write_all(panic_line(format, info).as_bytes());
    }));
}

fn panic_line(format: Format, info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place =
        info.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let text = "panic; its message is not shown, for it may hold personal data";
    let mut line = match format {
        Format::Text => format!("ERROR {text} thread={thread} place={place}"),
        Format::Json => serde_json::json!({
            "level": "ERROR", "event": "panic", "message": text, "thread": thread, "place": place
        })
        .to_string(),
    };
    let _ = writeln!(line);
    line
}

/// The progress bar that is on the screen: log lines are written above it, not through it.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Says which progress bar log lines have to make room for.
pub(crate) fn make_room_for(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

#[derive(Debug, Clone, Copy)]
struct Stderr;

impl MakeWriter<'_> for Stderr {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(line))?,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of log lines at the most open filter there is.
    fn logged(emit: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let registry =
            tracing_subscriber::registry().with(EnvFilter::new("trace")).with(filter_fn(may_log)).with(layer);
        tracing::subscriber::with_default(registry, emit);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn libraries_that_hold_values_are_silent_and_others_capped() {
        let text = logged(|| {
            tracing::error!(target: "aws_smithy_runtime_api::client", "leak-1");
            tracing::trace!(target: "aws_sdk_sqs::operation", "leak-2");
            tracing::error!(target: "sqlx::query", "leak-3");
            tracing::warn!(target: "sqlx::postgres::notice", "leak-4");
            tracing::warn!(target: "sqlx_postgres::options::parse", "leak-5");
            tracing::warn!(target: "aws_config::imds::region", "leak-6");
            tracing::debug!(target: "hyper::proto::h1::io", "leak-7");
            tracing::trace!(target: "hyper_util::client", "leak-8");
            tracing::debug!(target: "rustls::client", "leak-9");
            tracing::trace!(target: "h2::codec", "leak-10");
            tracing::trace!(target: "something_new", "leak-11");
            tracing::warn!(target: "something_new", "kept-1");
            tracing::warn!(target: "hyper::client", "kept-2");
            tracing::trace!(target: "fetch_etl_core::pipeline", "kept-3");
            tracing::debug!(target: "etl_worker", "kept-4");
        });
        assert!(!text.contains("leak"), "{text}");
        for kept in ["kept-1", "kept-2", "kept-3", "kept-4"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
    }

    #[test]
    fn spans_of_capped_libraries_lend_no_field_to_a_line() {
        let text = logged(|| {
            let _in_span =
                tracing::trace_span!(target: "aws_smithy_runtime", "invoke", body = "leak").entered();
            tracing::info!(target: "etl_worker", "kept");
        });
        assert!(text.contains("kept") && !text.contains("leak"), "{text}");
    }
}
