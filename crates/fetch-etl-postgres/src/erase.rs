//! Erasing a person: a tombstone first, which keeps out what is still to come, and then what is stored.

use std::collections::HashSet;

use fetch_etl_core::{ErrorClass, SinkError};
use sqlx::{Connection, PgConnection};

use crate::audit::{AuditEvent, AuditHead, append};
use crate::error::Failure;
use crate::rotation::must_wait;

/// Rows that are looked for at once: bounds the memory that a person with very many rows takes.
const ROUND: i64 = 50_000;

/// Rows of one transaction.
const BATCH: usize = 1_000;

/// What an erasure did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Rows whose masks were set to NULL.
    pub rows: u64,
    /// Entries of the vault that were deleted.
    pub entries: u64,
    /// Entries that stay, because rows of others have the same masks.
    pub shared: u64,
}

pub(crate) fn without_rows(error: sqlx::Error) -> SinkError {
    Failure::from(error).without_rows()
}

#[derive(Clone, Copy)]
pub(crate) enum Change {
    Leave,
    Lift,
}

pub(crate) async fn change_tombstone(
    connection: &mut PgConnection,
    user_id: &str,
    event: &AuditEvent<'_>,
    change: Change,
) -> sqlx::Result<(bool, AuditHead)> {
    let mut transaction = connection.begin().await?;
    // Writers wait behind us while we wait for those before us.
    sqlx::query!("SELECT set_config('lock_timeout', '60s', true)").fetch_one(&mut *transaction).await?;
    // First, since it may have to wait for somebody who reveals: no writer shall wait for that.
    let head = append(&mut transaction, event).await?;
    // Alone: whoever writes after that sees the change, and whoever wrote before has committed.
    sqlx::query!("SELECT pg_advisory_xact_lock(etl.policy_lock())").execute(&mut *transaction).await?;
    let changed = match change {
        Change::Leave => {
            sqlx::query!("INSERT INTO etl.erased (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
                .execute(&mut *transaction)
                .await?
        }
        Change::Lift => {
            sqlx::query!("DELETE FROM etl.erased WHERE user_id = $1", user_id)
                .execute(&mut *transaction)
                .await?
        }
    };
    transaction.commit().await?;
    Ok((changed.rows_affected() > 0, head))
}

/// A row of the person that has masks.
struct MaskedRow {
    /// Its table, which is one of the partitions where there are some.
    table: i64,
    /// Where it is there, as text.
    place: String,
    masked_ip: Option<String>,
    masked_device_id: Option<String>,
}

impl MaskedRow {
    /// Its masks with their fields.
    fn masks(&self) -> impl Iterator<Item = (&str, &str)> {
        [("ip", self.masked_ip.as_deref()), ("device_id", self.masked_device_id.as_deref())]
            .into_iter()
            .filter_map(|(field, mask)| Some((field, mask?)))
    }
}

/// An entry of the vault that one of the person's masks leads to.
struct Entry {
    field: String,
    /// Its mask, which its primary key has.
    mask: Vec<u8>,
    /// That of the person's rows, as text: its mask, or the one that it had when it was sealed.
    found_by: String,
    /// Its masks, as text.
    known_as: Vec<String>,
}

pub(crate) async fn erase(connection: &mut PgConnection, user_id: &str) -> Result<Erasure, SinkError> {
    refuse_unfinished_rotation(connection).await?;
    let mut done = Erasure::default();
    let mut kept = HashSet::new();
    // Where the rows were of which none could be cleared.
    let mut unmoved = HashSet::new();
    loop {
        let rows = masked_rows(connection, user_id, ROUND).await.map_err(without_rows)?;
        if rows.is_empty() {
            return Ok(done);
        }
        if rows.iter().all(|row| unmoved.contains(&(row.table, row.place.clone()))) {
            // A trigger of theirs, perhaps. To go on would be to go on for ever.
            let text = "the rows of this person cannot be changed: none of them was, without an error";
            return Err(SinkError::new(ErrorClass::Fatal, text));
        }
        let before = done.rows;
        kept.extend(erase_round(connection, user_id, &rows, &mut done).await?);
        done.shared = kept.len() as u64;
        let (found, cleared) = (rows.len() as u64, done.rows - before);
        // Fewer than it may be, and none that somebody moved under our hands: there are no more.
        if found < ROUND as u64 && cleared == found {
            return Ok(done);
        }
        unmoved.clear();
        if cleared == 0 {
            unmoved.extend(rows.into_iter().map(|row| (row.table, row.place)));
        }
    }
}

/// Erases these rows, and says which entries stay because others share them.
async fn erase_round(
    connection: &mut PgConnection,
    user_id: &str,
    rows: &[MaskedRow],
    done: &mut Erasure,
) -> Result<HashSet<(String, Vec<u8>)>, SinkError> {
    let entries = entries_of(connection, rows).await.map_err(without_rows)?;
    let shared = shared(connection, user_id, &entries).await.map_err(without_rows)?;
    let is_doomed = |entry: &Entry| !shared.contains(&(entry.field.clone(), entry.mask.clone()));
    let doomed: Vec<_> = entries.into_iter().filter(is_doomed).collect();
    for batch in rows.chunks(BATCH) {
        erase_batch(connection, user_id, batch, &doomed, done).await.map_err(without_rows)?;
    }
    Ok(shared)
}

/// One transaction: as long as a row has its masks, what the vault keeps of it can be found.
async fn erase_batch(
    connection: &mut PgConnection,
    user_id: &str,
    rows: &[MaskedRow],
    doomed: &[Entry],
    done: &mut Erasure,
) -> sqlx::Result<()> {
    let masks: HashSet<(&str, &str)> = rows.iter().flat_map(MaskedRow::masks).collect();
    let mut here: Vec<(&str, &[u8])> = doomed
        .iter()
        .filter(|entry| masks.contains(&(&*entry.field, &*entry.found_by)))
        .map(|entry| (&*entry.field, &*entry.mask))
        .collect();
    here.sort_unstable();
    here.dedup();
    let (fields, masks): (Vec<&str>, Vec<&[u8]>) = here.into_iter().unzip();
    let tables: Vec<i64> = rows.iter().map(|row| row.table).collect();
    let places: Vec<&str> = rows.iter().map(|row| row.place.as_str()).collect();
    let ips: Vec<_> = rows.iter().map(|row| row.masked_ip.as_deref()).collect();
    let device_ids: Vec<_> = rows.iter().map(|row| row.masked_device_id.as_deref()).collect();
    let mut transaction = connection.begin().await?;
    let deleted = sqlx::query!(
        "DELETE FROM etl.pii_vault AS v USING unnest($1::text[], $2::bytea[]) AS d (field, mask)
        WHERE v.field = d.field AND v.mask = d.mask",
        &fields as &[&str],
        &masks as &[&[u8]]
    )
    .execute(&mut *transaction)
    .await?;
    // The person and the masks once more: another row may have come to this place since, which is for the next round.
    let cleared = sqlx::query!(
        "UPDATE user_logins AS l SET masked_ip = NULL, masked_device_id = NULL
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS o (tableoid, place, masked_ip, masked_device_id)
        WHERE l.ctid = ANY ($2::text[]::tid[]) AND l.ctid = o.place::tid AND l.tableoid::bigint = o.tableoid AND l.user_id = $5
            AND l.masked_ip IS NOT DISTINCT FROM o.masked_ip AND l.masked_device_id IS NOT DISTINCT FROM o.masked_device_id",
        &tables,
        &places as &[&str],
        &ips as &[Option<&str>],
        &device_ids as &[Option<&str>],
        user_id
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    done.entries += deleted.rows_affected();
    done.rows += cleared.rows_affected();
    Ok(())
}

pub(crate) async fn survey(connection: &mut PgConnection, user_id: &str) -> sqlx::Result<(bool, Erasure)> {
    let known = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM etl.erased WHERE user_id = $1) AS "known!""#,
        user_id
    )
    .fetch_one(&mut *connection)
    .await?;
    // All at once: nothing of it changes, so there are no rounds. Each pair of masks once.
    let rows = sqlx::query!(
        r#"SELECT masked_ip, masked_device_id, count(*) AS "rows!" FROM user_logins
        WHERE user_id = $1 AND (masked_ip IS NOT NULL OR masked_device_id IS NOT NULL)
        GROUP BY masked_ip, masked_device_id"#,
        user_id
    )
    .fetch_all(&mut *connection)
    .await?;
    let count = rows.iter().map(|row| u64::try_from(row.rows).unwrap_or_default()).sum();
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| MaskedRow {
            table: 0,
            place: String::new(),
            masked_ip: row.masked_ip,
            masked_device_id: row.masked_device_id,
        })
        .collect();
    let entries = entries_of(connection, &rows).await?;
    let shared = shared(connection, user_id, &entries).await?.len() as u64;
    Ok((known, Erasure { rows: count, entries: count_entries(&entries) - shared, shared }))
}

/// How many there are; two masks of a person may lead to the same.
fn count_entries(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| (&entry.field, &entry.mask)).collect::<HashSet<_>>().len() as u64
}

async fn masked_rows(
    connection: &mut PgConnection,
    user_id: &str,
    most: i64,
) -> sqlx::Result<Vec<MaskedRow>> {
    sqlx::query_as!(
        MaskedRow,
        r#"SELECT tableoid::bigint AS "table!", ctid::text AS "place!", masked_ip, masked_device_id FROM user_logins
        WHERE user_id = $1 AND (masked_ip IS NOT NULL OR masked_device_id IS NOT NULL) LIMIT $2"#,
        user_id,
        most
    )
    .fetch_all(connection)
    .await
}

/// Fields and masks, each pair once, as two arrays.
fn pairs<'a>(masks: impl Iterator<Item = (&'a str, &'a str)>) -> (Vec<&'a str>, Vec<&'a str>) {
    masks.collect::<HashSet<_>>().into_iter().unzip()
}

/// What the vault keeps under these rows' masks, or kept under them before a rotation.
async fn entries_of(connection: &mut PgConnection, rows: &[MaskedRow]) -> sqlx::Result<Vec<Entry>> {
    let (fields, masks) = pairs(rows.iter().flat_map(MaskedRow::masks));
    sqlx::query_as!(
        Entry,
        r#"WITH mine AS MATERIALIZED (
            SELECT m.field, m.mask, decode(m.mask, 'hex') AS digest
            FROM unnest($1::text[], $2::text[]) AS m (field, mask)
            WHERE m.mask ~ '^[0-9a-f]{128}$'
        ),
        found AS (
            SELECT v.field, v.mask, v.sealed_mask, mine.mask AS found_by
            FROM mine JOIN etl.pii_vault AS v ON v.field = mine.field AND v.mask = mine.digest
            UNION ALL
            SELECT v.field, v.mask, v.sealed_mask, mine.mask
            FROM mine JOIN etl.pii_vault AS v ON v.field = mine.field AND v.sealed_mask = mine.digest
        )
        SELECT field AS "field!", mask AS "mask!", found_by AS "found_by!",
            ARRAY[encode(mask, 'hex'), encode(coalesce(sealed_mask, mask), 'hex')] AS "known_as!"
        FROM found"#,
        &fields as &[&str],
        &masks as &[&str]
    )
    .fetch_all(connection)
    .await
}

/// Which of these entries rows of others lead to, too: one pass over the table.
async fn shared(
    connection: &mut PgConnection,
    user_id: &str,
    entries: &[Entry],
) -> sqlx::Result<HashSet<(String, Vec<u8>)>> {
    if entries.is_empty() {
        return Ok(HashSet::new());
    }
    let known = |entry| {
        let Entry { field, known_as, .. }: &Entry = entry;
        known_as.iter().map(|mask| (field.as_str(), mask.as_str())).collect::<Vec<_>>()
    };
    let (fields, masks) = pairs(entries.iter().flat_map(known));
    let theirs = sqlx::query!(
        r#"SELECT DISTINCT m.field AS "field!", m.mask AS "mask!"
        FROM user_logins AS u
            CROSS JOIN LATERAL (VALUES ('ip', u.masked_ip), ('device_id', u.masked_device_id)) AS m (field, mask)
            JOIN unnest($1::text[], $2::text[]) AS mine (field, mask) ON mine.field = m.field AND mine.mask = m.mask
        WHERE u.user_id IS DISTINCT FROM $3"#,
        &fields as &[&str],
        &masks as &[&str],
        user_id
    )
    .fetch_all(connection)
    .await?;
    let theirs: HashSet<(String, String)> = theirs.into_iter().map(|row| (row.field, row.mask)).collect();
    let is_theirs = |entry: &&Entry| {
        entry.known_as.iter().any(|mask| theirs.contains(&(entry.field.clone(), mask.clone())))
    };
    Ok(entries.iter().filter(is_theirs).map(|entry| (entry.field.clone(), entry.mask.clone())).collect())
}

/// While a rotation is unfinished, entries of the vault have masks that rows do not have yet: neither what is the person's can be told,
/// nor what rows of others lead to. Then nothing is forgotten by which it can be found, and no value deleted.
pub(crate) async fn refuse_unfinished_rotation(connection: &mut PgConnection) -> Result<(), SinkError> {
    if !must_wait(connection).await.map_err(without_rows)? {
        return Ok(());
    }
    Err(SinkError::new(
        ErrorClass::Fatal,
        "a rotation of keys is unfinished, and what the vault keeps of whom cannot be told before it is finished: \
         run `etl-admin rotate` to its end, and then this again",
    ))
}
