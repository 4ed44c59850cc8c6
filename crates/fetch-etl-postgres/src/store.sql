-- Stores a batch, or nothing of it: where `suspects` comes back with keys in it, or `in_force` as false, nothing was stored.
WITH batch AS MATERIALIZED (
    SELECT *
    FROM unnest(
        $1::text[], $2::boolean[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[],
        $10::text[], $11::integer[]
    ) AS b (
        key, by_producer, sent_day, user_id, device_type, masked_ip, masked_device_id, locale, app_version,
        app_version_text, mask_key_id
    )
),
-- Waits for a change of the policy that is under way; $29 is the version that the writer holds to.
gate AS MATERIALIZED (
    SELECT in_force, erased FROM etl.enter($29::bigint, $4::text[])
),
erased AS MATERIALIZED (
    SELECT unnest(erased) AS user_id FROM gate
),
-- The quarantine knows these keys, so they may be in the ledger under another day; $12 are those that were looked up there.
suspects AS MATERIALIZED (
    SELECT key
    FROM batch
    WHERE key <> ALL ($12::text[]) AND EXISTS (SELECT FROM etl.quarantine AS q WHERE q.key = batch.key)
),
-- $13 are the keys that were found there; $14 is the retention in days.
fresh AS (
    INSERT INTO etl.ledger (key, day, recorded_on)
    SELECT
        key,
        CASE WHEN by_producer THEN '-infinity' ELSE etl.ledger_day(date '1970-01-01' + sent_day, $14::integer) END,
        etl.utc_today()
    FROM batch
    WHERE (SELECT in_force FROM gate) AND NOT EXISTS (SELECT FROM suspects) AND key <> ALL ($13::text[])
    ORDER BY key COLLATE "C"
    ON CONFLICT (key, day) DO NOTHING
    RETURNING key
),
inserted AS (
    INSERT INTO user_logins (
        user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_text, message_id,
        mask_key_id
    )
    SELECT
        batch.user_id, device_type, CASE WHEN erased.user_id IS NULL THEN masked_ip END,
        CASE WHEN erased.user_id IS NULL THEN masked_device_id END, locale, app_version, date '1970-01-01' + sent_day,
        app_version_text, batch.key, mask_key_id
    FROM fresh JOIN batch ON batch.key = fresh.key LEFT JOIN erased ON erased.user_id = batch.user_id
    RETURNING 1
),
rejected AS (
    INSERT INTO etl.quarantine AS q (
        key, by_producer, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id,
        sealed_body, sent_at
    )
    SELECT
        key, by_producer, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id,
        sealed_body, to_timestamp(sent_at_millis / 1000.0)
    FROM unnest(
        $15::text[], $16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[], $21::text[], $22::bigint[],
        $23::bigint[], $24::text[], $25::bytea[], $26::bigint[], $27::boolean[]
    ) AS r (
        key, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id, sealed_body,
        sent_at_millis, by_producer
    )
    WHERE (SELECT in_force FROM gate) AND NOT EXISTS (SELECT FROM suspects)
    ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET
        by_producer = excluded.by_producer,
        reason = excluded.reason,
        field = excluded.field,
        line = excluded.line,
        column_number = excluded.column_number,
        length = excluded.length,
        sink_code = excluded.sink_code,
        body_bytes = excluded.body_bytes,
        receive_count = excluded.receive_count,
        -- A sealed body may be the only copy of its message that is left: only another one replaces it.
        recipient_id = coalesce(excluded.recipient_id, q.recipient_id),
        sealed_body = coalesce(excluded.sealed_body, q.sealed_body),
        sent_at = excluded.sent_at,
        last_seen_at = now(),
        state = 'open',
        closed_at = NULL,
        closed_by = NULL
    -- $28: what is rejected again by a replay is in no queue. Once somebody else closed it, there is nothing left to be open.
    WHERE q.state = 'open' OR NOT $28::boolean
)
SELECT
    (SELECT count(*) FROM inserted) AS "inserted!",
    (SELECT in_force FROM gate) AS "in_force!",
    (SELECT erased FROM gate) AS "erased!: Vec<String>",
    -- $30: whether somebody wants to know which they are.
    CASE WHEN $30::boolean THEN ARRAY(SELECT key FROM fresh) ELSE '{}' END AS "fresh!: Vec<String>",
    ARRAY(SELECT key FROM suspects) AS "suspects!: Vec<String>"
