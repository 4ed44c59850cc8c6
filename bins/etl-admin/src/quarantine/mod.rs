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
use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{PolicyStore, Quarantine, QuarantineFilter, QuarantineState, Sink, SinkError};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};

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
    quarantine: Arc<dyn Quarantine>,
    /// Where replays go.
    sink: Arc<dyn Sink<LoginRow>>,
    /// The masking policy that replays are held to.
    policies: Arc<dyn PolicyStore>,
    /// Where there is an audit.
    postgres: Option<Arc<PostgresSink>>,
}

impl Store {
    /// Connects, and checks that the tables are there; makes none.
    async fn open(settings: SinkSettings) -> Result<Self, Failure> {
        let told = |error: SinkError| sinks::failure(&settings, &error);
        match settings.database.kind() {
            DatabaseKind::Postgres => {
                let sink = Arc::new(postgres(&settings).await.map_err(told)?);
                let (quarantine, policies) = (sink.clone(), sink.clone());
                Ok(Self { quarantine, policies, postgres: Some(sink.clone()), sink, settings })
            }
            DatabaseKind::Sqlite => {
                let sink = Arc::new(sqlite(&settings).await.map_err(told)?);
                Ok(Self { quarantine: sink.clone(), policies: sink.clone(), postgres: None, sink, settings })
            }
        }
    }

    /// What the codes are with which this database refuses rows.
    fn codes(&self) -> &'static str {
        match self.settings.database.kind() {
            DatabaseKind::Postgres => "SQLSTATE",
            DatabaseKind::Sqlite => "SQLite code",
        }
    }

    /// What a user is told about a database that fails.
    fn failure(&self, error: SinkError) -> Failure {
        sinks::failure(&self.settings, &error)
    }
}

pub(crate) async fn postgres(settings: &SinkSettings) -> Result<PostgresSink, SinkError> {
    let sink = PostgresSink::connect(PostgresSinkConfig {
        max_connections: settings.max_connections,
        ledger_retention_days: settings.ledger_retention_days,
        replays: true,
        application_name: "etl-admin".to_owned(),
        ..PostgresSinkConfig::new(settings.database.expose())
    })
    .await?;
    sink.check_schema().await?;
    Ok(sink)
}

pub(crate) async fn sqlite(settings: &SinkSettings) -> Result<SqliteSink, SinkError> {
    let sink = SqliteSink::connect(SqliteSinkConfig {
        ledger_retention_days: settings.ledger_retention_days,
        replays: true,
        ..SqliteSinkConfig::new(settings.database.expose())
    })
    .await?;
    sink.check_schema().await?;
    Ok(sink)
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
