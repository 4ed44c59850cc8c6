//! `limit.sink`: the rows of the load, masked already, into a table.

use futures_util::future::try_join_all;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::pipeline::{self, Columns};
use super::{SinkWay, Stretch};
use crate::Result;
use crate::load::{Values, login};

/// As many as the worker has writers by default.
const CONNECTIONS: u64 = 2;
const BATCH: u64 = 2_000;

const UNNEST: &str = "
INSERT INTO user_logins (message_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
SELECT key, user_id, device_type, masked_ip, masked_device_id, locale, app_version, current_date
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[])
    AS b (key, user_id, device_type, masked_ip, masked_device_id, locale, app_version)";

const COPY: &str = "
COPY user_logins (message_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
FROM STDIN (FORMAT binary)";

const STAGE: &str = "
CREATE TEMPORARY TABLE stage (
    key text COLLATE \"C\", user_id text, device_type text, masked_ip text, masked_device_id text, locale text, app_version integer,
    create_date date
) ON COMMIT DELETE ROWS";

const COPY_TO_STAGE: &str = "COPY stage FROM STDIN (FORMAT binary)";

const STORE_STAGED: &str = "
WITH fresh AS (INSERT INTO ledger (key) SELECT key FROM stage ON CONFLICT DO NOTHING RETURNING key)
INSERT INTO user_logins (message_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
SELECT key, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date FROM fresh JOIN stage USING (key)";

/// 2000-01-01 to 2026-01-01, as binary dates count. Which day it is makes no difference.
const DAY: i32 = 9_497;

pub(super) async fn run(rows: u64, way: SinkWay, database_url: &str) -> Result<()> {
    let batches = rows.div_ceil(BATCH * CONNECTIONS);
    let mut lanes = Vec::new();
    for lane in 0..CONNECTIONS {
        lanes.push((lane, rows_of_batch()?, pipeline::connect(database_url).await?));
    }
    let stretch = Stretch::begin()?;
    try_join_all(
        lanes.into_iter().map(|(lane, columns, database)| store(lane, batches, columns, way, database)),
    )
    .await?;
    stretch.end(batches * BATCH * CONNECTIONS)
}

fn rows_of_batch() -> Result<Columns> {
    let mut columns = Columns::default();
    (0..BATCH).try_for_each(|number| columns.push("", &login(number, Values::New)))?;
    Ok(columns)
}

async fn store(
    lane: u64,
    batches: u64,
    mut columns: Columns,
    way: SinkWay,
    mut database: PgConnection,
) -> Result<()> {
    if let SinkWay::Staged = way {
        sqlx::query(STAGE).execute(&mut database).await?;
    }
    for batch in 0..batches {
        for (number, key) in columns.keys.iter_mut().enumerate() {
            // Spread like the ids of a queue, as long as they are, and never twice.
            let unique = (lane * batches + batch) * BATCH + number as u64;
            *key =
                format!("{:08x}-0000-4000-8000-{unique:012x}", (unique as u32).wrapping_mul(2_654_435_761));
        }
        match way {
            SinkWay::Unnest => columns.store(UNNEST, &mut database).await?,
            SinkWay::Ledger => columns.store(pipeline::STORE, &mut database).await?,
            SinkWay::Copy => copy(COPY, &columns, &mut database).await?,
            SinkWay::Staged => {
                let mut transaction = database.begin().await?;
                copy(COPY_TO_STAGE, &columns, &mut transaction).await?;
                sqlx::query(STORE_STAGED).execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
    }
    Ok(())
}

async fn copy(statement: &'static str, columns: &Columns, database: &mut PgConnection) -> Result<()> {
    let mut sender = database.copy_in_raw(statement).await?;
    sender.send(binary(columns)).await?;
    sender.finish().await?;
    Ok(())
}

/// The format of COPY's documentation: a header, the rows' fields with their lengths, an end.
fn binary(columns: &Columns) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.keys.len() * 450);
    out.extend(b"PGCOPY\n\xff\r\n\0");
    out.extend([0; 8]);
    for row in 0..columns.keys.len() {
        out.extend(8_i16.to_be_bytes());
        for column in [
            &columns.keys,
            &columns.user_ids,
            &columns.device_types,
            &columns.masked_ips,
            &columns.masked_device_ids,
            &columns.locales,
        ] {
            field(&mut out, column[row].as_bytes());
        }
        field(&mut out, &columns.app_versions[row].to_be_bytes());
        field(&mut out, &DAY.to_be_bytes());
    }
    out.extend((-1_i16).to_be_bytes());
    out
}

fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    // Fields of the load are short.
    out.extend((bytes.len() as i32).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_its_fields_with_their_lengths() {
        let mut columns = Columns::default();
        columns.push("k", &login(0, Values::New)).unwrap();
        let bytes = binary(&columns);
        assert_eq!(&bytes[..21], b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x08".as_slice());
        assert_eq!(&bytes[21..26], b"\0\0\0\x01k".as_slice());
        assert_eq!(&bytes[bytes.len() - 2..], [0xff, 0xff]);
    }
}
