//! A database that holds rows already.

use std::time::Instant;

use fetch_etl_testing::postgres::TestDatabase;

use crate::report::Run;
use crate::rig::Rig;
use crate::runs::worker::{Setup, rate_into};
use crate::{Result, say};

const ROWS_AT_ONCE: u64 = 500_000;

/// Rows and their keys, sent one after the other since midnight, as the measured ones are that follow: the part of the ledger that is
/// written to is as large as it can be.
const FILL: &str = "
WITH new AS MATERIALIZED (
    SELECT
        number, md5(random()::text || number)::uuid::text AS key, repeat(md5(number::text), 4) AS mask,
        midnight + (extract(epoch FROM now()) * 1000 - midnight)::bigint * number / $3 AS sent
    FROM (SELECT (etl.utc_today() - date '1970-01-01') * bigint '86400000' AS midnight) AS today, generate_series($1::bigint, $2::bigint) AS number
),
ledger AS (INSERT INTO etl.ledger (sent_at_millis, key) SELECT sent, key FROM new)
INSERT INTO user_logins (
    user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_text, message_id, mask_key_id
)
SELECT
    'u-' || number, 'ios', mask, reverse(mask), 'US', 2003000, etl.utc_today(), '2.3.0', key, 1
FROM new";

/// The filled database, made when it is first used, and how many rows were put into it.
pub(crate) struct Filled {
    database: TestDatabase,
    rows: u64,
}

impl Filled {
    pub(crate) async fn new(rig: &Rig, rows: u64) -> Result<Self> {
        let since = Instant::now();
        let database = rig.migrated_database().await?;
        let mut connection = database.connect().await;
        let partition = "SELECT etl.ensure_ledger_partitions(ARRAY[etl.utc_today()], 35)";
        sqlx::query(partition).execute(&mut connection).await?;
        let mut from = 0;
        while from < rows {
            let to = (from + ROWS_AT_ONCE).min(rows);
            let range = (i64::try_from(from + 1)?, i64::try_from(to)?);
            sqlx::query(FILL)
                .bind(range.0)
                .bind(range.1)
                .bind(i64::try_from(rows)?)
                .execute(&mut connection)
                .await?;
            from = to;
        }
        // What autovacuum would do in the middle of a measurement.
        for statement in ["VACUUM (ANALYZE) user_logins", "VACUUM (ANALYZE) etl.ledger"] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        say(&format!("stored {rows} rows in {} s", since.elapsed().as_secs()));
        Ok(Self { database, rows })
    }

    /// As usual, on top of what is there.
    pub(crate) async fn rate(&self, rig: &Rig) -> Result<Run> {
        let mut run = rate_into(rig, &Setup::usual(rig.scale.messages), &self.database).await?;
        run.figures.insert("stored_rows".into(), self.rows as f64);
        Ok(run)
    }
}
