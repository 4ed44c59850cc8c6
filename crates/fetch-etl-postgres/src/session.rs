//! Connections, and how long one may be waited for.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fetch_etl_core::{ErrorClass, SinkError};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres};
use tokio::time::timeout;

use crate::PostgresSinkConfig;
use crate::error::{Failure, no_answer};

/// A connection that was idle for longer is asked whether it is alive before it is used. (Asking always would cost every
/// write a round trip.)
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a connection whose statements may take any time may leave a transaction open between them: a laptop that falls asleep must
/// not hold up the workers for long.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);

/// How much longer than the database we wait: it needs a moment to cancel a statement and to say so.
const GRACE: Duration = Duration::from_secs(5);

/// The sink's connections.
pub(crate) struct Sessions {
    pool: PgPool,
    options: PgConnectOptions,
    connect_timeout: Duration,
    statement_timeout: Duration,
    patience: Duration,
    last_broken: LastBroken,
}

/// When a connection broke last: the others that were there at that time are suspect.
type LastBroken = Arc<Mutex<Option<Instant>>>;

impl Sessions {
    /// Makes connections possible; none is made yet.
    pub(crate) fn new(config: &PostgresSinkConfig) -> Result<Self, SinkError> {
        let options = config.database_url.parse::<PgConnectOptions>().map_err(Failure::from)?;
        // sqlx would log statements, slow ones above all; what is slow shows in our own figures.
        let options = options.application_name(&config.application_name).disable_statement_logging();
        let statement_timeout = config.statement_timeout;
        let last_broken = LastBroken::default();
        let suspects = last_broken.clone();
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections.max(1))
            .acquire_timeout(config.connect_timeout)
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let suspect = about.idle_for > TRUSTED_IDLE || was_there(about.age, &suspects);
                Box::pin(async move {
                    if suspect {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |connection, _| Box::pin(set_up(connection, Some(statement_timeout))))
            .connect_lazy_with(options.clone());
        let patience = config.statement_timeout.saturating_add(GRACE);
        let connect_timeout = config.connect_timeout;
        Ok(Self { pool, options, connect_timeout, statement_timeout, patience, last_broken })
    }

    /// A connection outside the pool, for what is done once. Unlike the pool's, it is not tried again while the server
    /// refuses it, so that the reason is known.
    pub(crate) async fn connect_alone(&self) -> Result<PgConnection, SinkError> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            leave_own_schema(&mut connection).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        Ok(connected.map_err(|_| no_answer(self.connect_timeout))?.map_err(Failure::from)?)
    }

    /// A connection outside the pool for work that may take as long as it takes to read a table, with everything else as the pool's
    /// have it: what it commits is durable.
    pub(crate) async fn connect_unhurried(&self) -> Result<PgConnection, SinkError> {
        let connecting = async {
            let mut connection = self.options.connect().await?;
            set_up(&mut connection, None).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        let connected = timeout(self.connect_timeout, connecting).await;
        Ok(connected.map_err(|_| no_answer(self.connect_timeout))?.map_err(Failure::from)?)
    }

    /// One connection without a limit for a statement's time, for what may take long, but with one for waiting for locks.
    /// (A pool because the migrator cannot be given a connection in a future that is `Send`.)
    pub(crate) fn pool_for_migrating(&self, lock_timeout: Duration) -> PgPool {
        PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(self.connect_timeout)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    leave_own_schema(connection).await?;
                    set_lock_timeout(connection, lock_timeout).await
                })
            })
            .connect_lazy_with(self.options.clone())
    }

    /// A connection of the pool.
    pub(crate) async fn open(&self) -> Result<Session, SinkError> {
        let connection = self.pool.acquire().await.map_err(Failure::from)?;
        Ok(Session {
            connection,
            patience: self.patience,
            last_broken: self.last_broken.clone(),
            sound: false,
        })
    }

    /// Waits for work that stores no rows, as long as one may wait for a statement.
    pub(crate) async fn patiently<T>(
        &self,
        work: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T, SinkError> {
        let outcome = timeout(self.patience, work).await.map_err(|_| no_answer(self.patience));
        outcome.and_then(|result| result.map_err(Failure::from)).map_err(Failure::without_rows)
    }

    /// How long the server lets a statement run.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// How long one may wait for a statement: as long as the server lets it run, and a moment.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection for one piece of work. Unless that ends well it is closed: what was under way on it, if the work was dropped
/// or timed out, nobody knows.
pub(crate) struct Session {
    connection: PoolConnection<Postgres>,
    patience: Duration,
    last_broken: LastBroken,
    sound: bool,
}

impl Session {
    /// Longest wait for the work.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Takes the outcome of the work, for which `patience` was the limit.
    pub(crate) fn judge<T>(mut self, outcome: Outcome<T>) -> Result<T, Failure> {
        let result = match outcome {
            Ok(result) => result.map_err(Failure::from),
            Err(_) => Err(no_answer(self.patience)),
        };
        self.sound = match &result {
            Ok(_) | Err(Failure::MissingPartition(_)) => true,
            Err(Failure::Other(error)) => error.class() == ErrorClass::BadRow,
        };
        if !self.sound {
            *lock(&self.last_broken) = Some(Instant::now());
        }
        result
    }
}

/// Whether a connection of that age was there already when one broke.
fn was_there(age: Duration, last_broken: &LastBroken) -> bool {
    lock(last_broken).is_some_and(|broken| broken.elapsed() <= age)
}

/// What is behind the lock is whole at any time.
fn lock(last_broken: &LastBroken) -> MutexGuard<'_, Option<Instant>> {
    last_broken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What came of a piece of work with a time limit.
pub(crate) type Outcome<T> = Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>;

impl Deref for Session {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.sound {
            self.connection.close_on_drop();
        }
    }
}

/// Settings that our statements count on, whatever the role's or the database's defaults are.
async fn set_up(connection: &mut PgConnection, statement_timeout: Option<Duration>) -> sqlx::Result<()> {
    leave_own_schema(connection).await?;
    // To Postgres, 0 is no limit.
    let millis_of = |limit: Duration| limit.as_millis().clamp(1, i32::MAX as u128).to_string();
    let millis = statement_timeout.map_or("0".to_owned(), millis_of);
    let idle_millis = millis_of(statement_timeout.unwrap_or(IDLE_IN_TRANSACTION));
    // - synchronous_commit: off would let a crash of the server take back what we said is stored. Every other value flushes,
    //   and some are stricter than `on`, so they stay.
    // - plan_cache_mode: a statement that comes again and again is planned five times, and then has a plan for arrays of any size.
    //   (Planning was half of what a small write cost.) Such a plan believes that arrays have ten elements, so what is written
    //   often joins none.
    // - default_transaction_isolation: what one transaction waited for another to commit it must see then.
    // - idle_in_transaction_session_timeout: if this process dies without a word, its locks shall not outlive it for long.
    sqlx::query!(
        "SELECT count(set_config(name, value, false)) FROM (VALUES
            ('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on')),
            ('plan_cache_mode', 'auto'),
            ('default_transaction_isolation', 'read committed'),
            ('statement_timeout', $1::text),
            ('idle_in_transaction_session_timeout', $2::text)
        ) AS settings (name, value)",
        millis,
        idle_millis
    )
    .fetch_one(&mut *connection)
    .await?;
    keep_values_out_of_the_servers_log(connection).await
}

/// The server's log quotes a row that a constraint refuses, and the parameters of a statement that is slow. Only a superuser can
/// switch that off for a session; for other roles a superuser can do it once, with `ALTER ROLE … SET`.
async fn keep_values_out_of_the_servers_log(connection: &mut PgConnection) -> sqlx::Result<()> {
    // By way of pg_settings: Postgres 12 does not know the second one.
    sqlx::query!(
        "SELECT count(set_config(settings.name, wanted.value, false))
        FROM (VALUES ('log_error_verbosity', 'terse'), ('log_parameter_max_length', '0')) AS wanted (name, value)
        JOIN pg_settings AS settings ON settings.name = wanted.name
        WHERE EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper)"
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}

/// Takes the schema of our own tables, `etl`, out of the search path, and pins the rest of it.
///
/// `user_logins` is its users' table, and stands where their queries find it. The usual path begins with `"$user"`, so for a role
/// called `etl` it would be looked for, and made, among our own tables, where nobody else looks: from the moment on at which the
/// first migration makes that schema.
async fn leave_own_schema(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT set_config('search_path', string_agg(quote_ident(name), ', ' ORDER BY place), false)
        FROM unnest(current_schemas(false)) WITH ORDINALITY AS schemas (name, place)
        WHERE name <> 'etl' HAVING count(*) > 0"
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

async fn set_lock_timeout(connection: &mut PgConnection, lock_timeout: Duration) -> sqlx::Result<()> {
    let millis = lock_timeout.as_millis().to_string();
    sqlx::query!("SELECT set_config('lock_timeout', $1, false)", millis).fetch_one(connection).await?;
    Ok(())
}
