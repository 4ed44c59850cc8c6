//! `etl-worker migrate`: the database's tables, without the worker.

use fetch_etl_core::SinkError;

use crate::cli::ConfigArgs;
use crate::failure::{ExitCode, Failure};
use crate::report;
use crate::settings::Loaded;
use crate::sinks::{self, Database};

pub(super) async fn run(args: ConfigArgs) -> Result<ExitCode, Failure> {
    let settings = Loaded::read(&args.inputs())?.sink()?;
    let database = Database::connect(&settings).await.map_err(|error| sinks::failure(&settings, &error))?;
    let outcome = migrate(&database).await;
    database.close().await;
    outcome.map_err(|error| sinks::failure(&settings, &error))?;
    report::print(&format!("{} is up to date\n", settings.database));
    Ok(ExitCode::Done)
}

/// A table that was there before may be too narrow for masks, which a worker would only find when it starts.
async fn migrate(database: &Database) -> Result<(), SinkError> {
    database.migrate().await?;
    database.check_schema().await
}
