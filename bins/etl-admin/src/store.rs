//! The database with the vault and the audit.

use etl_worker::cli::ConfigArgs;
use etl_worker::failure::Failure;
use etl_worker::settings::{DatabaseKind, Loaded, SinkSettings};
use etl_worker::sinks;
use fetch_etl_core::SinkError;
use fetch_etl_postgres::PostgresSink;

use crate::quarantine;

/// A Postgres, for what only that one can do.
pub(crate) struct PeopleStore {
    settings: SinkSettings,
    pub(crate) sink: PostgresSink,
}

impl PeopleStore {
    /// Connects, and checks that the tables are there; makes none.
    pub(crate) async fn open(config: &ConfigArgs) -> Result<Self, Failure> {
        let settings = Loaded::read(&config.inputs())?.sink()?;
        if settings.database.kind() == DatabaseKind::Sqlite {
            return Err(Failure::usage(
                "this works on Postgres only: an SQLite file has no vault, no roles and no audit, so that whoever can read it \
                 could do all of this unseen",
            )
            .hint("to remove a person from an SQLite file: UPDATE user_logins SET masked_ip = NULL, masked_device_id = NULL \
                   WHERE user_id = …"));
        }
        let sink = quarantine::postgres(&settings).await;
        let sink = sink.map_err(|error| sinks::failure(&settings, &error))?;
        Ok(Self { settings, sink })
    }

    /// What a user is told about a database that fails.
    pub(crate) fn failure(&self, error: SinkError) -> Failure {
        sinks::failure(&self.settings, &error)
    }
}
