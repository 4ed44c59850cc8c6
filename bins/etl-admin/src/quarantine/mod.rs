//! `etl-admin quarantine`: rejected messages.

mod discard;
mod list;
mod replay;
mod show;
mod source;

use std::sync::Arc;

use etl_worker::failure::Failure;
use etl_worker::settings::{DatabaseKind, SinkSettings};
use etl_worker::sinks;
use fetch_etl_core::SinkError;
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig, QuarantineFilter, QuarantineState};

use crate::Outcome;
use crate::cli::{FilterArgs, QuarantineCommand};

pub(crate) async fn run(command: QuarantineCommand) -> Result<Outcome, Failure> {
    match command {
        QuarantineCommand::List(args) => list::run(args).await,
        QuarantineCommand::Show(args) => show::run(args).await,
        QuarantineCommand::Replay(args) => replay::run(args).await,
        QuarantineCommand::Discard(args) => discard::run(args).await,
    }
}

/// The database that holds the quarantine.
struct Store {
    settings: SinkSettings,
    sink: Arc<PostgresSink>,
}

impl Store {
    /// Connects, and checks that the tables are there; makes none.
    async fn open(settings: SinkSettings) -> Result<Self, Failure> {
        if settings.database.kind() == DatabaseKind::Sqlite {
            let text = format!("{}: etl-admin quarantine works on Postgres only", settings.database);
            return Err(Failure::usage(text).hint(
                "an SQLite database says what was rejected in its table etl_quarantine, and keeps the sealed bodies there",
            ));
        }
        let config = PostgresSinkConfig {
            max_connections: settings.max_connections,
            ledger_retention_days: settings.ledger_retention_days,
            application_name: "etl-admin".to_owned(),
            ..PostgresSinkConfig::new(settings.database.expose())
        };
        let told = |error: SinkError| sinks::failure(&settings, &error);
        let sink = PostgresSink::connect(config).await.map_err(told)?;
        sink.check_schema().await.map_err(told)?;
        Ok(Self { settings, sink: Arc::new(sink) })
    }

    /// What a user is told about a database that fails.
    fn failure(&self, error: SinkError) -> Failure {
        sinks::failure(&self.settings, &error)
    }
}

impl FilterArgs {
    fn in_states(self, states: Vec<QuarantineState>) -> QuarantineFilter {
        let Self { reason: reasons, since, until, key: keys } = self;
        QuarantineFilter { keys, reasons, states, since, until }
    }

    fn open(self) -> QuarantineFilter {
        self.in_states(vec![QuarantineState::Open])
    }
}
