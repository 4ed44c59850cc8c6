//! The SQL that xtask needs: makes a scratch database and migrates it, and drops databases that tests left behind.
//!
//! A binary of its own behind a feature, so that `cargo xtask` compiles no driver. It depends on none of our crates:
//! they may fail to compile exactly because their SQL does not fit the migrations yet, and `cargo xtask prepare` is
//! what repairs that.

#![expect(clippy::print_stderr, reason = "a command line tool")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sqlx::migrate::{MigrateDatabase, Migrator};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Sqlite, SqliteConnection};

#[derive(Parser)]
struct Cli {
    /// From the environment, because it may hold a password, which `ps` would show.
    #[arg(long, env = "SCHEMA_DATABASE_URL", hide_env_values = true)]
    url: String,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make the database and apply a directory of migrations to it.
    Create { migrations: PathBuf },
    /// Drop every database of the Postgres server whose name begins so.
    DropByPrefix { prefix: String },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { url, task } = Cli::parse();
    let done = match task {
        Task::Create { migrations } => create(&url, &migrations).await,
        Task::DropByPrefix { prefix } => drop_by_prefix(&url, &prefix).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schema: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn create(url: &str, migrations: &Path) -> Result<(), sqlx::Error> {
    let migrator = Migrator::new(migrations).await?;
    if url.starts_with("sqlite:") {
        Sqlite::create_database(url).await?;
        let mut connection = SqliteConnection::connect(url).await?;
        migrator.run(&mut connection).await?;
        connection.close().await
    } else {
        Postgres::create_database(url).await?;
        let mut connection = PgConnection::connect(url).await?;
        migrator.run(&mut connection).await?;
        connection.close().await
    }
}

async fn drop_by_prefix(url: &str, prefix: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let find = "SELECT datname FROM pg_database WHERE starts_with(datname, $1)";
    let names: Vec<String> = sqlx::query_scalar(find).bind(prefix).fetch_all(&mut connection).await?;
    for name in names {
        // A name cannot be bound as a parameter; quoted like this it is a name, whatever is in it.
        let quoted = name.replace('"', "\"\"");
        let drop = format!("DROP DATABASE IF EXISTS \"{quoted}\" WITH (FORCE)");
        sqlx::query(AssertSqlSafe(drop)).execute(&mut connection).await?;
        eprintln!("schema: dropped database {name}");
    }
    connection.close().await
}
