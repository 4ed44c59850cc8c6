-- What etl-admin needs of the quarantine: a replay under the very key that the message had, and one filter for all its commands.

-- Without it, a replay would look for the key on the wrong day of the ledger.
ALTER TABLE etl.quarantine ADD COLUMN by_producer boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN etl.quarantine.by_producer IS 'whether the key is the producer''s, or else the queue''s id of the message';
COMMENT ON COLUMN etl.quarantine.state IS 'open; replayed: it is a row now; discarded: given up. The last two keep no body';

-- The rows that a filter means; an empty array and NULL leave everything through. Small enough for the planner to inline it.
CREATE FUNCTION etl.quarantine_matching(
    keys text[], reasons text[], states text[], since_millis bigint, until_millis bigint
) RETURNS SETOF etl.quarantine
LANGUAGE sql STABLE
AS $$
    SELECT *
    FROM etl.quarantine AS q
    WHERE (cardinality($1) = 0 OR q.key = ANY ($1))
        AND (cardinality($2) = 0 OR q.reason = ANY ($2))
        AND (cardinality($3) = 0 OR q.state = ANY ($3))
        AND ($4 IS NULL OR q.first_seen_at >= to_timestamp($4 / 1000.0))
        AND ($5 IS NULL OR q.first_seen_at < to_timestamp($5 / 1000.0))
$$;
