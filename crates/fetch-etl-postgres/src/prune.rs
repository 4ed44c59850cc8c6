//! Pruning the vault: values that no row leads to any more, because the rows were deleted, go.

use fetch_etl_core::SinkError;
use sqlx::PgConnection;

use crate::erase::{refuse_unfinished_rotation, without_rows};

/// Entries that are looked for in one pass over the rows.
const ROUND: i64 = 200_000;
/// Entries of one transaction.
const BATCH: usize = 1_000;

/// What pruning the vault did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Entries to which no row leads.
    pub entries: u64,
    /// Data keys with which nothing was sealed that is still there. Known only once the entries are gone.
    pub data_keys: u64,
}

/// Field and mask of an entry.
#[derive(Default)]
struct Place {
    field: String,
    mask: Vec<u8>,
}

pub(crate) async fn prune(
    connection: &mut PgConnection,
    really: bool,
    progress: &(dyn Fn(Pruned) + Send + Sync),
) -> Result<Pruned, SinkError> {
    refuse_unfinished_rotation(connection).await?;
    let mut done = Pruned::default();
    let mut after = Place::default();
    loop {
        let end = round_end(connection, &after).await.map_err(without_rows)?;
        let doomed = led_to_by_none(connection, &after, end.as_ref()).await.map_err(without_rows)?;
        if really {
            for batch in doomed.chunks(BATCH) {
                done.entries += delete(connection, batch).await.map_err(without_rows)?;
                progress(done);
            }
        } else {
            done.entries += doomed.len() as u64;
            progress(done);
        }
        let Some(end) = end else { break };
        after = end;
    }
    if really {
        done.data_keys = delete_data_keys(connection).await.map_err(without_rows)?;
    }
    Ok(done)
}

/// The last entry of the next round; `None` where that goes to the end.
async fn round_end(connection: &mut PgConnection, after: &Place) -> sqlx::Result<Option<Place>> {
    sqlx::query_as!(
        Place,
        "SELECT field, mask FROM etl.pii_vault WHERE (field, mask) > ($1, $2) ORDER BY field, mask OFFSET $3 LIMIT 1",
        after.field,
        after.mask,
        ROUND - 1
    )
    .fetch_optional(connection)
    .await
}

/// The entries of a round to which no row leads, neither by their mask nor by the one that they were sealed under: one pass over the
/// rows. Fields that are no column of theirs are not ours to judge.
async fn led_to_by_none(
    connection: &mut PgConnection,
    after: &Place,
    end: Option<&Place>,
) -> sqlx::Result<Vec<Place>> {
    let (end_field, end_mask) = end.map(|end| (&*end.field, &*end.mask)).unzip();
    sqlx::query_as!(
        Place,
        r#"WITH known AS MATERIALIZED (
            SELECT field, mask, sealed_mask FROM etl.pii_vault
            WHERE (field, mask) > ($1, $2) AND ($3::text IS NULL OR (field, mask) <= ($3, $4::bytea))
                AND field IN ('ip', 'device_id')
        ),
        names AS MATERIALIZED (
            SELECT field, mask, encode(mask, 'hex') AS name FROM known
            UNION ALL
            SELECT field, mask, encode(sealed_mask, 'hex') FROM known WHERE sealed_mask IS NOT NULL
        ),
        led_to AS MATERIALIZED (
            SELECT DISTINCT names.field, names.mask
            FROM user_logins AS u
                CROSS JOIN LATERAL (VALUES ('ip', u.masked_ip), ('device_id', u.masked_device_id)) AS m (field, name)
                JOIN names ON names.field = m.field AND names.name = m.name
        )
        SELECT field AS "field!", mask AS "mask!" FROM known
        WHERE NOT EXISTS (SELECT FROM led_to WHERE led_to.field = known.field AND led_to.mask = known.mask)"#,
        after.field,
        after.mask,
        end_field,
        end_mask
    )
    .fetch_all(connection)
    .await
}

async fn delete(connection: &mut PgConnection, entries: &[Place]) -> sqlx::Result<u64> {
    let fields: Vec<&str> = entries.iter().map(|entry| &*entry.field).collect();
    let masks: Vec<&[u8]> = entries.iter().map(|entry| &*entry.mask).collect();
    let deleted = sqlx::query!(
        "DELETE FROM etl.pii_vault AS v USING unnest($1::text[], $2::bytea[]) AS d (field, mask)
        WHERE v.field = d.field AND v.mask = d.mask",
        &fields as &[&str],
        &masks as &[&[u8]]
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// A worker seals with one for ten minutes; so with one of yesterday no transaction is under way that nobody sees yet. The newest stays,
/// by which workers know to whom was sealed last.
async fn delete_data_keys(connection: &mut PgConnection) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        "DELETE FROM etl.vault_data_keys AS k
        WHERE k.created_at < now() - interval '1 day' AND k.created_at < (SELECT max(created_at) FROM etl.vault_data_keys)
            AND NOT EXISTS (SELECT FROM etl.pii_vault AS v WHERE v.dek_id = k.id)"
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
