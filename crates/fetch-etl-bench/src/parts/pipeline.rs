//! `limit.pipeline`: the same steps by bare means. Unsigned HTTP, a borrowed struct, SHA-512, a ledger and the rows in one
//! statement, deletes in batches; no leases, no rejects, no retries, no backpressure, no stop.

use std::str::FromStr as _;

use fetch_etl_core::MaskedValue;
use futures_util::future::try_join_all;
use serde::Deserialize;
use sha2::{Digest as _, Sha512};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::QueuePlace;
use crate::Result;
use crate::sqs::{Connection, MOST, Received};

/// While one of them writes, others receive.
const LANES: usize = 4;
const CONNECTIONS_PER_LANE: usize = 3;
const BATCH: usize = 2_000;

/// The ledger of those who have no second day, no policy and no quarantine.
pub(crate) const LEDGER: &str = "CREATE TABLE ledger (key text COLLATE \"C\" PRIMARY KEY)";

/// Rows whose keys the ledger does not have, and their keys.
pub(crate) const STORE: &str = "
WITH batch AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::integer[])
        AS b (key, user_id, device_type, masked_ip, masked_device_id, locale, app_version)
),
fresh AS (INSERT INTO ledger (key) SELECT key FROM batch ON CONFLICT DO NOTHING RETURNING key)
INSERT INTO user_logins (message_id, user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date)
SELECT key, user_id, device_type, masked_ip, masked_device_id, locale, app_version, current_date
FROM fresh JOIN batch USING (key)";

#[derive(Deserialize)]
struct Login<'a> {
    user_id: &'a str,
    app_version: &'a str,
    device_type: &'a str,
    ip: &'a str,
    locale: &'a str,
    device_id: &'a str,
}

/// A batch, column by column.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) keys: Vec<String>,
    pub(super) user_ids: Vec<String>,
    pub(super) device_types: Vec<String>,
    pub(super) masked_ips: Vec<String>,
    pub(super) masked_device_ids: Vec<String>,
    pub(super) locales: Vec<String>,
    pub(super) app_versions: Vec<i32>,
}

impl Columns {
    pub(super) fn push(&mut self, key: &str, body: &str) -> Result<()> {
        let login: Login<'_> = serde_json::from_str(body)?;
        self.keys.push(key.to_owned());
        self.user_ids.push(login.user_id.to_owned());
        self.device_types.push(login.device_type.to_owned());
        self.masked_ips.push(mask(login.ip));
        self.masked_device_ids.push(mask(login.device_id));
        self.locales.push(login.locale.to_owned());
        self.app_versions.push(version(login.app_version));
        Ok(())
    }

    pub(super) async fn store(&self, statement: &'static str, database: &mut PgConnection) -> Result<()> {
        let query = sqlx::query(statement).bind(&self.keys).bind(&self.user_ids).bind(&self.device_types);
        let query = query.bind(&self.masked_ips).bind(&self.masked_device_ids).bind(&self.locales);
        let stored = query.bind(&self.app_versions).execute(database).await?.rows_affected();
        if stored == self.keys.len() as u64 {
            Ok(())
        } else {
            Err(format!("{stored} of {} rows were stored", self.keys.len()).into())
        }
    }
}

/// The same text as the worker's: hexadecimal.
fn mask(value: &str) -> String {
    MaskedValue::from_digest(Sha512::digest(value).into()).to_text()
}

/// Of such versions as the load has.
fn version(text: &str) -> i32 {
    text.split('.').filter_map(|part| part.parse::<i32>().ok()).fold(0, |number, part| number * 1_000 + part)
}

pub(super) async fn connect(url: &str) -> Result<PgConnection> {
    let options = PgConnectOptions::from_str(url).map_err(|_| "the database URL is not valid")?;
    Ok(options.disable_statement_logging().connect().await?)
}

pub(super) async fn run(place: QueuePlace, database_url: &str) -> Result<()> {
    try_join_all((0..LANES).map(|_| lane(&place, database_url))).await.map(drop)
}

async fn lane(place: &QueuePlace, database_url: &str) -> Result<()> {
    let mut database = connect(database_url).await?;
    let opening = (0..CONNECTIONS_PER_LANE).map(|_| Connection::open(&place.endpoint, &place.url));
    let mut connections = try_join_all(opening).await?;
    loop {
        let share = BATCH / CONNECTIONS_PER_LANE;
        let parts = try_join_all(connections.iter_mut().map(|connection| gather(connection, share))).await?;
        let mut all = Columns::default();
        let mut handles = Vec::with_capacity(BATCH);
        for (columns, some) in parts {
            append(&mut all, columns);
            handles.extend(some);
        }
        if handles.is_empty() {
            return Ok(());
        }
        all.store(STORE, &mut database).await?;
        // As even as it goes.
        let share = handles.len().div_ceil(CONNECTIONS_PER_LANE);
        let deletes = connections
            .iter_mut()
            .zip(handles.chunks(share))
            .map(|(connection, handles)| delete(connection, handles));
        try_join_all(deletes).await?;
    }
}

async fn gather(connection: &mut Connection, most: usize) -> Result<(Columns, Vec<String>)> {
    let (mut columns, mut handles) = (Columns::default(), Vec::new());
    while handles.len() < most {
        let answer = connection.receive().await?;
        let Received { messages } = serde_json::from_slice(&answer)?;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            columns.push(message.message_id, &message.body)?;
            handles.push(message.receipt_handle.to_owned());
        }
    }
    Ok((columns, handles))
}

async fn delete(connection: &mut Connection, handles: &[String]) -> Result<()> {
    for handles in handles.chunks(MOST as usize) {
        connection.delete(handles).await?;
    }
    Ok(())
}

fn append(all: &mut Columns, more: Columns) {
    all.keys.extend(more.keys);
    all.user_ids.extend(more.user_ids);
    all.device_types.extend(more.device_types);
    all.masked_ips.extend(more.masked_ips);
    all.masked_device_ids.extend(more.masked_device_ids);
    all.locales.extend(more.locales);
    all.app_versions.extend(more.app_versions);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Values, login};

    #[test]
    fn a_login_becomes_a_row_as_the_worker_makes_it() {
        let mut columns = Columns::default();
        columns.push("a-key", &login(5, Values::New)).unwrap();
        assert_eq!(columns.keys, ["a-key"]);
        assert_eq!(columns.app_versions, [5_005_005]);
        assert_eq!(columns.masked_ips[0].len(), 128);
        assert_eq!(&mask("abc")[..16], "ddaf35a193617aba");
    }
}
