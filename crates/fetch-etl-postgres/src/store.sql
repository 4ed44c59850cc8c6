-- Stores a batch, or nothing of it: where `suspects` comes back with keys in it, or `in_force` as false, nothing was stored.
--
-- It has one plan for batches of any size, so it joins nothing: what a row needs to know comes as another array beside its columns.
WITH
-- Waits for a change of the policy that is under way; $31 is the version that the writer holds to.
gate AS MATERIALIZED (
    SELECT in_force, erased FROM etl.enter($31::bigint, $4::text[])
),
-- The quarantine knows these keys, so they may be in the ledger under another time; $12 are those that were looked up there.
suspects AS MATERIALIZED (
    SELECT key FROM etl.quarantined($1::text[]) AS q (key) WHERE key <> ALL ($12::text[])
),
-- $13 are the keys that were found there, $14 is the retention in days, $15 whether there were repeats lately.
ledger AS MATERIALIZED (
    SELECT etl.ledger_add($1::text[], $2::bigint[], $14::integer, $13::text[], $15::boolean) AS fresh
    FROM gate
    WHERE in_force AND NOT EXISTS (SELECT FROM suspects)
),
inserted AS (
    INSERT INTO user_logins (
        user_id, device_type, masked_ip, masked_device_id, locale, app_version, create_date, app_version_text, message_id,
        mask_key_id
    )
    SELECT
        user_id, device_type, CASE WHEN user_id <> ALL ((SELECT erased FROM gate)::text[]) THEN masked_ip END,
        CASE WHEN user_id <> ALL ((SELECT erased FROM gate)::text[]) THEN masked_device_id END, locale, app_version,
        date '1970-01-01' + sent_day, app_version_text, key, mask_key_id
    FROM ledger CROSS JOIN unnest(
        $1::text[], ledger.fresh, $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::integer[],
        $10::text[], $11::integer[]
    ) AS b (
        key, is_fresh, sent_day, user_id, device_type, masked_ip, masked_device_id, locale, app_version, app_version_text,
        mask_key_id
    )
    WHERE is_fresh
    RETURNING 1
),
rejected AS (
    INSERT INTO etl.quarantine AS q (
        key, by_producer, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id,
        sealed_body, sent_at, queued_at_millis
    )
    SELECT
        key, by_producer, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id,
        sealed_body, to_timestamp(sent_at_millis / 1000.0), queued_at_millis
    FROM unnest(
        $16::text[], $17::text[], $18::text[], $19::bigint[], $20::bigint[], $21::bigint[], $22::text[], $23::bigint[],
        $24::bigint[], $25::text[], $26::bytea[], $27::bigint[], $28::bigint[], $29::boolean[]
    ) AS r (
        key, reason, field, line, column_number, length, sink_code, body_bytes, receive_count, recipient_id, sealed_body,
        sent_at_millis, queued_at_millis, by_producer
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
        -- A producer's key, or a replay's, says nothing of the time under which the queue's own is in the ledger.
        queued_at_millis = coalesce(excluded.queued_at_millis, q.queued_at_millis),
        last_seen_at = now(),
        state = 'open',
        closed_at = NULL,
        closed_by = NULL
    -- $30: what is rejected again by a replay is in no queue. Once somebody else closed it, there is nothing left to be open.
    WHERE q.state = 'open' OR NOT $30::boolean
)
SELECT
    (SELECT count(*) FROM inserted) AS "inserted!",
    (SELECT in_force FROM gate) AS "in_force!",
    (SELECT erased FROM gate) AS "erased!: Vec<String>",
    -- $32: whether somebody wants to know which they are.
    CASE
        WHEN $32::boolean THEN ARRAY(SELECT key FROM ledger CROSS JOIN unnest($1::text[], ledger.fresh) AS b (key, is_fresh) WHERE is_fresh)
        ELSE '{}'
    END AS "fresh!: Vec<String>",
    ARRAY(SELECT key FROM suspects) AS "suspects!: Vec<String>"
