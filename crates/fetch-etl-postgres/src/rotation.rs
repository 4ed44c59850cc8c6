//! Rotation of keys.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use fetch_etl_core::{ErrorClass, KeyId, KeyRows, Remask, Rotation, RotationProgress, SinkError};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::PostgresSink;
use crate::error::Failure;
use crate::maintenance::Maintenance;

/// Pages of the table that are one transaction: a megabyte, some 2,000 rows, a fraction of a second.
const PAGES: i64 = 128;
/// Entries of the vault that are one transaction.
const ENTRIES: i64 = 2_000;
/// How often a batch is tried again for what may pass, after so long, twice as long, and so on.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

#[async_trait]
impl Rotation for PostgresSink {
    async fn rows_by_key(&self) -> Result<Vec<KeyRows>, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let query = sqlx::query!(
            r#"SELECT mask_key_id, count(*) AS "rows!",
                count(*) FILTER (WHERE masked_ip ~ '^[0-9a-f]{128}$') AS "ips!",
                count(*) FILTER (WHERE masked_device_id ~ '^[0-9a-f]{128}$') AS "device_ids!"
            FROM user_logins
            WHERE masked_ip IS NOT NULL OR masked_device_id IS NOT NULL
            GROUP BY mask_key_id ORDER BY mask_key_id"#
        );
        let counted = query.fetch_all(&mut connection).await.map_err(Failure::from)?;
        connection.close().await.map_err(Failure::from)?;
        let of = |rows| u64::try_from(rows).unwrap_or_default();
        let rows = counted.into_iter().map(|row| KeyRows {
            key_id: row.mask_key_id.map(KeyId::new),
            rows: of(row.rows),
            digests: vec![("ip", of(row.ips)), ("device_id", of(row.device_ids))],
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
        let mut maintenance = self.begin_maintenance().await?;
        let done = maintenance.remask_all(remask, unnamed, progress, stop).await?;
        maintenance.end().await?;
        Ok(done)
    }
}

impl PostgresSink {
    /// The key that a rotation was to bring everything up to which was left unfinished, where there is one.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn unfinished_rotation(&self) -> Result<Option<KeyId>, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let query = sqlx::query_scalar!("SELECT target_key_id FROM etl.rotation");
        let target = self.sessions.patiently(query.fetch_optional(&mut connection)).await?;
        connection.close().await.map_err(Failure::from)?;
        Ok(target.map(KeyId::new))
    }

    /// The key ids of what the vault keeps, and how many values there are of each. It reads the whole vault.
    ///
    /// # Errors
    /// Nothing could be read.
    pub async fn vault_by_key(&self) -> Result<Vec<(KeyId, u64)>, SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        let query = sqlx::query!(
            r#"SELECT mask_key_id, count(*) AS "values!" FROM etl.pii_vault GROUP BY mask_key_id ORDER BY mask_key_id"#
        );
        let counted = query.fetch_all(&mut connection).await.map_err(Failure::from)?;
        connection.close().await.map_err(Failure::from)?;
        let of = |row: i64| u64::try_from(row).unwrap_or_default();
        Ok(counted.into_iter().map(|row| (KeyId::new(row.mask_key_id), of(row.values))).collect())
    }
}

/// A rotation, on the connection that holds the right to it.
pub(crate) struct Work<'a> {
    pub(crate) maintenance: &'a mut Maintenance,
    pub(crate) remask: &'a dyn Remask,
    pub(crate) unnamed: Option<KeyId>,
    pub(crate) done: RotationProgress,
    pub(crate) progress: &'a (dyn Fn(RotationProgress) + Send + Sync),
    pub(crate) stop: &'a CancellationToken,
}

/// A row whose masks are of an older key.
struct OldRow {
    table: i64,
    place: String,
    mask_key_id: Option<i32>,
    masked_ip: Option<String>,
    masked_device_id: Option<String>,
}

/// What one transaction did.
#[derive(Default)]
struct Step {
    rows: u64,
    unreadable: u64,
}

impl Work<'_> {
    pub(crate) async fn run(mut self) -> Result<RotationProgress, SinkError> {
        self.maintenance.limit_statements(true).await?;
        self.note(true).await?;
        if self.vault().await? && self.rows().await? {
            self.note(false).await?;
            self.done.finished = true;
        }
        // All is done: where this does not work, neither does what comes next, and says so.
        let _ = self.maintenance.limit_statements(false).await;
        Ok(self.done)
    }

    /// Writes down that it is unfinished, before anything is changed; or that it is finished, after everything was.
    async fn note(&mut self, unfinished: bool) -> Result<(), SinkError> {
        let target = self.remask.target();
        let mut tries = 0;
        loop {
            let patience = self.maintenance.patience();
            let outcome = timeout(patience, note(self.maintenance.connection(), target, unfinished)).await;
            match self.maintenance.judge(outcome) {
                Ok(()) => return Ok(()),
                Err(error) => self.prepare_another_try(error, &mut tries).await?,
            }
        }
    }

    fn origins(&self) -> Vec<i32> {
        self.remask.origins().into_iter().map(KeyId::get).collect()
    }

    /// All rows; `false` when told to stop. An update moves a row to another page, maybe behind us, and others update rows, too: so
    /// the table is gone through until nothing is found any more. That ends, because no new rows come with an older key.
    async fn rows(&mut self) -> Result<bool, SinkError> {
        loop {
            let pages = self.pages().await?;
            let (mut found, mut unreadable) = (0, 0);
            let mut first = 0;
            while first < pages {
                if self.stop.is_cancelled() {
                    return Ok(false);
                }
                let step = self.rows_of(first..first + PAGES).await?;
                found += step.rows;
                unreadable += step.unreadable;
                self.done.rows += step.rows;
                self.done.unreadable = self.done.unreadable.max(unreadable);
                (self.progress)(self.done);
                first += PAGES;
            }
            if found == 0 {
                return Ok(true);
            }
        }
    }

    /// How many pages the table has; the largest of its partitions, where it has some. (The tree of a table without any is empty.)
    async fn pages(&mut self) -> Result<i64, SinkError> {
        let mut tries = 0;
        loop {
            let query = sqlx::query_scalar!(
                r#"SELECT coalesce(max(pg_relation_size(relid) / current_setting('block_size')::bigint), 0) + 1 AS "pages!"
                FROM (SELECT 'user_logins'::regclass AS relid UNION SELECT relid FROM pg_partition_tree('user_logins')) AS tables"#
            );
            let patience = self.maintenance.patience();
            let outcome = timeout(patience, query.fetch_one(self.maintenance.connection())).await;
            match self.maintenance.judge(outcome) {
                Ok(pages) => return Ok(pages),
                Err(error) => self.prepare_another_try(error, &mut tries).await?,
            }
        }
    }

    async fn rows_of(&mut self, pages: Range<i64>) -> Result<Step, SinkError> {
        let (origins, remask, unnamed) = (self.origins(), self.remask, self.unnamed);
        let mut tries = 0;
        loop {
            let patience = self.maintenance.patience();
            let work = remask_rows(self.maintenance.connection(), remask, &origins, unnamed, &pages);
            let outcome = timeout(patience, work).await;
            match self.maintenance.judge(outcome) {
                Ok(step) => return Ok(step),
                Err(error) => self.prepare_another_try(error, &mut tries).await?,
            }
        }
    }

    /// Waits before another try, a little longer each time, where an error may pass: a deadlock with somebody else, a connection that was
    /// cut. After that the right to go on is ours for sure.
    ///
    /// # Errors
    /// It does not pass by itself, or came too often; or the right is not ours any more.
    async fn prepare_another_try(&mut self, mut error: SinkError, tries: &mut u32) -> Result<(), SinkError> {
        loop {
            if error.class() != ErrorClass::Retryable || *tries == TRIES {
                return Err(error);
            }
            *tries += 1;
            tokio::time::sleep(PAUSE * *tries).await;
            match self.maintenance.hold_on(self.remask.target()).await {
                Ok(()) => return Ok(()),
                Err(another) => error = another,
            }
        }
    }

    /// The whole vault; `false` when told to stop.
    async fn vault(&mut self) -> Result<bool, SinkError> {
        let mut after = (String::new(), Vec::new());
        loop {
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let Some((entries, last)) = self.some_of_vault(&after).await? else { return Ok(true) };
            self.done.vault_entries += entries;
            (self.progress)(self.done);
            after = last;
        }
    }

    /// The next entries, and the place of the last one; `None` where there are no more.
    async fn some_of_vault(&mut self, after: &Place) -> Result<Option<(u64, Place)>, SinkError> {
        let (origins, remask) = (self.origins(), self.remask);
        let mut tries = 0;
        loop {
            let patience = self.maintenance.patience();
            let outcome =
                timeout(patience, remask_entries(self.maintenance.connection(), remask, &origins, after))
                    .await;
            match self.maintenance.judge(outcome) {
                Ok(step) => return Ok(step),
                Err(error) => self.prepare_another_try(error, &mut tries).await?,
            }
        }
    }
}

async fn note(connection: &mut PgConnection, target: KeyId, unfinished: bool) -> sqlx::Result<()> {
    if unfinished {
        sqlx::query!(
            "INSERT INTO etl.rotation (target_key_id) VALUES ($1)
            ON CONFLICT (only_row) DO UPDATE SET target_key_id = excluded.target_key_id",
            target.get()
        )
        .execute(connection)
        .await?;
    } else {
        sqlx::query!("DELETE FROM etl.rotation").execute(connection).await?;
    }
    Ok(())
}

/// Whether nothing of the vault may be deleted, because a rotation was left unfinished.
pub(crate) async fn must_wait(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM etl.rotation) AND EXISTS (SELECT FROM etl.pii_vault) AS "must_wait!""#
    )
    .fetch_one(connection)
    .await
}

/// Field and mask of an entry.
type Place = (String, Vec<u8>);

async fn remask_rows(
    connection: &mut PgConnection,
    remask: &dyn Remask,
    origins: &[i32],
    unnamed: Option<KeyId>,
    pages: &Range<i64>,
) -> sqlx::Result<Step> {
    let (first, end) = (format!("({},0)", pages.start), format!("({},0)", pages.end));
    let mut transaction = connection.begin().await?;
    let old = sqlx::query_as!(
        OldRow,
        r#"SELECT tableoid::bigint AS "table!", ctid::text AS "place!", mask_key_id, masked_ip, masked_device_id
        FROM user_logins
        WHERE ctid >= $1::text::tid AND ctid < $2::text::tid
            AND (mask_key_id = ANY ($3) OR $4::boolean AND mask_key_id IS NULL)
            AND (masked_ip IS NOT NULL OR masked_device_id IS NOT NULL)
        FOR UPDATE"#,
        first,
        end,
        origins,
        unnamed.is_some()
    )
    .fetch_all(&mut *transaction)
    .await?;
    let mut new = NewMasks::default();
    let mut step = Step::default();
    for row in &old {
        let made_with = row.mask_key_id.map(KeyId::new).or(unnamed);
        match made_with.and_then(|made_with| new_masks(remask, row, made_with)) {
            Some((ip, device_id)) => new.push(row, ip, device_id),
            None => step.unreadable += 1,
        }
    }
    if !new.places.is_empty() {
        // What was changed, not what was meant to be: a trigger of theirs may keep a row as it is, and it would never end.
        step.rows = new.store(&mut transaction, remask.target(), &first, &end).await?;
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(step)
}

type NewMask = Option<String>;

/// The masks of a row with the newest key; `None` where one of them is no mask.
fn new_masks(remask: &dyn Remask, row: &OldRow, made_with: KeyId) -> Option<(NewMask, NewMask)> {
    let column = |field, held: &Option<String>| remask.column(field, held.as_deref(), made_with);
    Some((column("ip", &row.masked_ip)?, column("device_id", &row.masked_device_id)?))
}

/// New masks, column by column.
#[derive(Default)]
struct NewMasks<'a> {
    tables: Vec<i64>,
    places: Vec<&'a str>,
    ips: Vec<NewMask>,
    device_ids: Vec<NewMask>,
}

impl<'a> NewMasks<'a> {
    fn push(&mut self, row: &'a OldRow, ip: NewMask, device_id: NewMask) {
        self.tables.push(row.table);
        self.places.push(&row.place);
        self.ips.push(ip);
        self.device_ids.push(device_id);
    }

    /// The rows are locked, so they are where they were.
    async fn store(
        &self,
        connection: &mut PgConnection,
        target: KeyId,
        first: &str,
        end: &str,
    ) -> sqlx::Result<u64> {
        // The bounds say the same as the join does; with them only these pages are read for it.
        let done = sqlx::query!(
            "UPDATE user_logins AS l
            SET masked_ip = n.masked_ip, masked_device_id = n.masked_device_id, mask_key_id = $5
            FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS n (tableoid, place, masked_ip, masked_device_id)
            WHERE l.ctid >= $6::text::tid AND l.ctid < $7::text::tid AND l.ctid = n.place::tid AND l.tableoid::bigint = n.tableoid",
            &self.tables,
            &self.places as &[&str],
            &self.ips as &[Option<String>],
            &self.device_ids as &[Option<String>],
            target.get(),
            first,
            end
        )
        .execute(connection)
        .await?;
        Ok(done.rows_affected())
    }
}

async fn remask_entries(
    connection: &mut PgConnection,
    remask: &dyn Remask,
    origins: &[i32],
    after: &Place,
) -> sqlx::Result<Option<(u64, Place)>> {
    let mut transaction = connection.begin().await?;
    let old = sqlx::query!(
        "SELECT field, mask, mask_key_id FROM etl.pii_vault
        WHERE (field, mask) > ($1, $2) AND mask_key_id = ANY ($3)
        ORDER BY field, mask LIMIT $4 FOR UPDATE",
        after.0,
        after.1,
        origins,
        ENTRIES
    )
    .fetch_all(&mut *transaction)
    .await?;
    let Some(last) = old.last().map(|entry| (entry.field.clone(), entry.mask.clone())) else {
        return Ok(None);
    };
    let (mut fields, mut masks, mut new_masks) = (Vec::new(), Vec::new(), Vec::new());
    for entry in old.iter().filter(|entry| remask.concerns(&entry.field)) {
        let old_mask = hex(&entry.mask);
        let new = remask.remask(&entry.field, &old_mask, KeyId::new(entry.mask_key_id));
        if let Some(digest) = new.as_ref().and_then(|mask| mask.digest()) {
            fields.push(entry.field.as_str());
            masks.push(entry.mask.as_slice());
            new_masks.push(digest.to_vec());
        }
    }
    // Where a worker has stored the same value under its new mask already, the older entry is not needed any more. What the ciphertext
    // is bound to stays beside it. New entries come in the order in which workers insert theirs, so that they wait for each other and do
    // not deadlock: an UPDATE in place would take them in the order of the old masks.
    let done = sqlx::query!(
        "WITH new AS MATERIALIZED (
            SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS n (field, old_mask, new_mask)
        ),
        moved AS (
            INSERT INTO etl.pii_vault (
                field, mask, mask_key_id, dek_id, ciphertext, created_at, sealed_mask, sealed_key_id
            )
            SELECT
                v.field, new.new_mask, $4::integer, v.dek_id, v.ciphertext, v.created_at, coalesce(v.sealed_mask, v.mask),
                coalesce(v.sealed_key_id, v.mask_key_id)
            FROM new JOIN etl.pii_vault AS v ON v.field = new.field AND v.mask = new.old_mask
            ORDER BY new.field COLLATE \"C\", new.new_mask
            ON CONFLICT DO NOTHING
        )
        DELETE FROM etl.pii_vault AS v USING new WHERE v.field = new.field AND v.mask = new.old_mask",
        &fields as &[&str],
        &masks as &[&[u8]],
        &new_masks,
        remask.target().get()
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some((done.rows_affected(), last)))
}

fn hex(bytes: &[u8]) -> String {
    <[u8; 64]>::try_from(bytes)
        .map(|digest| fetch_etl_core::MaskedValue::from_digest(digest).to_text())
        .unwrap_or_default()
}
