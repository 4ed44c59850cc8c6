//! Rotation of keys.

use async_trait::async_trait;
use fetch_etl_core::{KeyId, KeyRows, Remask, Rotation, RotationProgress, SinkError};
use sqlx::SqliteConnection;
use tokio_util::sync::CancellationToken;

use crate::SqliteSink;
use crate::error::error_without_rows;

/// Rows that are one transaction: while it lasts nobody else writes.
const ROWS: i64 = 1_000;

#[async_trait]
impl Rotation for SqliteSink {
    async fn rows_by_key(&self) -> Result<Vec<KeyRows>, SinkError> {
        let query = sqlx::query!(
            r#"SELECT mask_key_id, count(*) AS "rows!: i64",
                count(*) FILTER (WHERE length(masked_ip) = 128 AND masked_ip NOT GLOB '*[^0-9a-f]*') AS "ips!: i64",
                count(*) FILTER (
                    WHERE length(masked_device_id) = 128 AND masked_device_id NOT GLOB '*[^0-9a-f]*'
                ) AS "device_ids!: i64"
            FROM user_logins
            WHERE masked_ip IS NOT NULL OR masked_device_id IS NOT NULL
            GROUP BY mask_key_id ORDER BY mask_key_id"#
        );
        let counted = query.fetch_all(&self.pool).await.map_err(|error| error_without_rows(&error))?;
        let rows = counted.into_iter().map(|row| KeyRows {
            key_id: row.mask_key_id.map(key_id),
            rows: row.rows.unsigned_abs(),
            digests: vec![("ip", row.ips.unsigned_abs()), ("device_id", row.device_ids.unsigned_abs())],
        });
        Ok(rows.collect())
    }

    async fn remask_all(
        &self,
        remask: &dyn Remask,
        unnamed: Option<KeyId>,
        progress: &(dyn Fn(RotationProgress) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<RotationProgress, SinkError> {
        let mut done = RotationProgress::default();
        let mut after = i64::MIN;
        while !stop.is_cancelled() {
            let step =
                self.remask_some(remask, unnamed, after).await.map_err(|error| error_without_rows(&error))?;
            let Some(step) = step else {
                done.finished = true;
                break;
            };
            done.rows += step.rows;
            done.unreadable += step.unreadable;
            after = step.last;
            progress(done);
        }
        Ok(done)
    }
}

/// What one transaction did.
struct Step {
    rows: u64,
    unreadable: u64,
    last: i64,
}

/// A row whose masks are of an older key.
struct OldRow {
    rowid: i64,
    mask_key_id: Option<i64>,
    masked_ip: Option<String>,
    masked_device_id: Option<String>,
}

impl SqliteSink {
    /// The next rows; `None` where there are no more. A row keeps its place when it is updated, so going through once is enough.
    async fn remask_some(
        &self,
        remask: &dyn Remask,
        unnamed: Option<KeyId>,
        after: i64,
    ) -> sqlx::Result<Option<Step>> {
        let origins: Vec<_> = remask.origins().into_iter().map(|id| id.get().to_string()).collect();
        let (origins, unnamed_too) = (format!("[{}]", origins.join(",")), unnamed.is_some());
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let old = sqlx::query_as!(
            OldRow,
            r#"SELECT rowid AS "rowid!: i64", mask_key_id, masked_ip, masked_device_id FROM user_logins
            WHERE rowid > ? AND (mask_key_id IN (SELECT value FROM json_each(?)) OR ? AND mask_key_id IS NULL)
                AND (masked_ip IS NOT NULL OR masked_device_id IS NOT NULL)
            ORDER BY rowid LIMIT ?"#,
            after,
            origins,
            unnamed_too,
            ROWS
        )
        .fetch_all(&mut *transaction)
        .await?;
        let Some(last) = old.last().map(|row| row.rowid) else {
            transaction.rollback().await?;
            return Ok(None);
        };
        let mut step = Step { rows: 0, unreadable: 0, last };
        for row in &old {
            if remask_row(&mut transaction, remask, unnamed, row).await? {
                step.rows += 1;
            } else {
                step.unreadable += 1;
            }
        }
        transaction.commit().await?;
        Ok(Some(step))
    }
}

/// Stores a row's new masks; `false` where one of its masks is none.
async fn remask_row(
    connection: &mut SqliteConnection,
    remask: &dyn Remask,
    unnamed: Option<KeyId>,
    row: &OldRow,
) -> sqlx::Result<bool> {
    let Some(made_with) = row.mask_key_id.map(key_id).or(unnamed) else { return Ok(false) };
    let column = |field, held: &Option<String>| remask.column(field, held.as_deref(), made_with);
    let (Some(ip), Some(device_id)) =
        (column("ip", &row.masked_ip), column("device_id", &row.masked_device_id))
    else {
        return Ok(false);
    };
    let target = remask.target().get();
    sqlx::query!(
        "UPDATE user_logins SET masked_ip = ?, masked_device_id = ?, mask_key_id = ? WHERE rowid = ?",
        ip,
        device_id,
        target,
        row.rowid
    )
    .execute(connection)
    .await?;
    Ok(true)
}

fn key_id(id: i64) -> KeyId {
    KeyId::new(i32::try_from(id).unwrap_or(i32::MAX))
}
