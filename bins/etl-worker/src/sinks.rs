//! The databases that rows can go to, chosen by the URL's scheme.

use std::sync::Arc;

use fetch_etl_core::login::LoginRow;
use fetch_etl_core::{NewestRecipients, PolicyStore, Sink, SinkCode, SinkError};
use fetch_etl_postgres::{PostgresSink, PostgresSinkConfig};
use fetch_etl_sqlite::{SqliteSink, SqliteSinkConfig};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::patience::until_ready;
use crate::settings::{DatabaseKind, SinkSettings};

/// A row as text, column by column; `None` is NULL.
pub(crate) type TextRow = Vec<Option<String>>;

/// A database that is open.
#[derive(Clone)]
pub(crate) enum Database {
    Postgres(Arc<PostgresSink>),
    Sqlite(Arc<SqliteSink>),
}

/// Does the same with whichever sink it is.
macro_rules! either {
    ($database:expr, $sink:ident => $does:expr) => {
        match $database {
            Database::Postgres($sink) => $does,
            Database::Sqlite($sink) => $does,
        }
    };
}

impl Database {
    /// Connects; changes nothing.
    ///
    /// # Errors
    /// It cannot be reached, or not so.
    pub(crate) async fn connect(settings: &SinkSettings) -> Result<Self, SinkError> {
        let url = settings.database.expose();
        match settings.database.kind() {
            DatabaseKind::Postgres => {
                let config = PostgresSinkConfig {
                    max_connections: settings.max_connections,
                    ledger_retention_days: settings.ledger_retention_days,
                    ..PostgresSinkConfig::new(url)
                };
                Ok(Self::Postgres(Arc::new(PostgresSink::connect(config).await?)))
            }
            DatabaseKind::Sqlite => {
                let config = SqliteSinkConfig {
                    ledger_retention_days: settings.ledger_retention_days,
                    ..SqliteSinkConfig::new(url)
                };
                Ok(Self::Sqlite(Arc::new(SqliteSink::connect(config).await?)))
            }
        }
    }

    /// Connects and makes the tables fit, or checks that they do; waits for a database that is not up yet. `None` when a
    /// stop was asked for before.
    ///
    /// # Errors
    /// It cannot be used, and trying again would not help.
    pub(crate) async fn open_when_ready(
        settings: &SinkSettings,
        stop: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        let opened = until_ready("the database", stop, SinkError::class, || Self::open(settings)).await;
        opened.map_err(|error| failure(settings, &error))
    }

    async fn open(settings: &SinkSettings) -> Result<Self, SinkError> {
        let database = Self::connect(settings).await?;
        if settings.migrate {
            database.migrate().await?;
        }
        database.check_schema().await?;
        Ok(database)
    }

    /// Applies the migrations.
    pub(crate) async fn migrate(&self) -> Result<(), SinkError> {
        either!(self, sink => sink.migrate().await)
    }

    /// How many migrations are to be applied, and that nothing which is there is in their way.
    pub(crate) async fn pending_migrations(&self) -> Result<usize, SinkError> {
        either!(self, sink => sink.pending_migrations().await)
    }

    /// Checks that the tables are there and can hold what they are meant to.
    pub(crate) async fn check_schema(&self) -> Result<(), SinkError> {
        either!(self, sink => sink.check_schema().await)
    }

    /// The sink, for a pipeline.
    pub(crate) fn sink(&self) -> Arc<dyn Sink<LoginRow>> {
        either!(self, sink => sink.clone())
    }

    /// What the database knows of the masking policy.
    pub(crate) fn policies(&self) -> &dyn PolicyStore {
        either!(self, sink => &**sink)
    }

    /// To whom what was sealed last is sealed.
    pub(crate) async fn newest_recipients(&self) -> Result<NewestRecipients, SinkError> {
        either!(self, sink => sink.newest_recipients().await)
    }

    /// The same, to be kept.
    pub(crate) fn policy_store(&self) -> Arc<dyn PolicyStore> {
        either!(self, sink => sink.clone())
    }

    /// The rows stored last.
    pub(crate) async fn newest_rows(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        either!(self, sink => sink.newest_rows(limit).await)
    }

    /// The messages quarantined last.
    pub(crate) async fn newest_quarantined(&self, limit: u32) -> Result<Vec<TextRow>, SinkError> {
        either!(self, sink => sink.newest_quarantined(limit).await)
    }

    /// Closes the connections.
    pub(crate) async fn close(&self) {
        either!(self, sink => sink.close().await);
    }
}

/// What a user is told about a database that cannot be used.
pub fn failure(settings: &SinkSettings, error: &SinkError) -> Failure {
    hinted(Failure::failed(format!("{}: {error}", settings.database)), error.code())
}

/// Adds what helps against a database's own code.
pub(crate) fn hinted(failure: Failure, code: Option<SinkCode>) -> Failure {
    match code.as_ref().map(SinkCode::as_str) {
        Some("28P01" | "28000") => {
            failure.hint("check the user and password in the database URL, and the server's pg_hba.conf")
        }
        Some("3D000") => failure.hint("createdb makes the database; etl-worker makes the tables"),
        Some("42501") => failure
            .hint("migrate as the tables' owner (etl-worker migrate), then run with sink.migrate = false"),
        _ => failure,
    }
}
