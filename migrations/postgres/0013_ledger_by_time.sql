-- The ledger in the order of sending. Keys that a queue names are random: with the key first, every new one landed on another page of
-- the day's index, and of a day with millions of keys nearly every second one cost a whole page in the log. With the time of sending
-- first, what is sent together lies together, whatever the ledger's size.

-- In the order in which workers use them, so that those which write just now are waited for.
LOCK TABLE etl.quarantine, etl.ledger IN ACCESS EXCLUSIVE MODE;

-- To whom what is made here belongs in the end, whoever makes it: functions of before act on it with their owner's rights.
SELECT set_config('fetch_etl.ledger_owner', pg_get_userbyid(relowner), true) FROM pg_class WHERE oid = 'etl.ledger'::regclass;

-- What the ledger knows so far stays as it is, as etl.ledger_by_day, is asked as long as there is something in it, and is forgotten by
-- and by like everything else.
DO $$
DECLARE
    partition name;
BEGIN
    IF NOT EXISTS (SELECT FROM etl.ledger) THEN
        DROP TABLE etl.ledger;
        RETURN;
    END IF;
    FOR partition IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = 'etl.ledger'::regclass
    LOOP
        EXECUTE format('ALTER TABLE etl.%I RENAME TO %I', partition, replace(partition, 'ledger_', 'ledger_by_day_'));
    END LOOP;
    ALTER TABLE etl.ledger RENAME TO ledger_by_day;
    COMMENT ON TABLE etl.ledger_by_day IS 'fetch-etl: keys of the messages that were stored before migration 13; empty after some weeks';
END
$$;

-- A message that the queue names keeps its time of sending however often it is delivered. A key that the producer names may be sent
-- again at any time, a source may know no times, and a time outside the retained days has no partition: such keys live in the
-- partition `ledger_undated`, as time -1, where the key alone is unique, and are deleted by the day on which they were recorded.
CREATE TABLE etl.ledger (
    sent_at_millis bigint NOT NULL,
    recorded_on    date,
    key            text COLLATE "C" NOT NULL,
    PRIMARY KEY (sent_at_millis, key)
) PARTITION BY RANGE (sent_at_millis);

COMMENT ON TABLE etl.ledger IS 'fetch-etl: keys of the messages that are stored, by time of sending';
COMMENT ON COLUMN etl.ledger.sent_at_millis IS 'milliseconds since 1970; -1 for keys without a time of their own';
COMMENT ON COLUMN etl.ledger.recorded_on IS 'the UTC day on which a key without a time was recorded';

CREATE TABLE etl.ledger_undated PARTITION OF etl.ledger FOR VALUES FROM (MINVALUE) TO (0);
ALTER TABLE etl.ledger_undated ALTER COLUMN recorded_on SET NOT NULL;
CREATE INDEX ON etl.ledger_undated (recorded_on);

-- For keys that the quarantine knows as well: under which time the ledger would have them.
ALTER TABLE etl.quarantine ADD COLUMN queued_at_millis bigint;

COMMENT ON COLUMN etl.quarantine.queued_at_millis
    IS 'when the queue says that it was sent, in milliseconds since 1970, where the key was the queue''s; as in etl.ledger';

UPDATE etl.quarantine SET queued_at_millis = round(extract(epoch FROM sent_at) * 1000) WHERE NOT by_producer;

-- As in 0002, with bounds in milliseconds. Days before 1970 have no partition.
CREATE OR REPLACE FUNCTION etl.ensure_ledger_partitions(days date[], retention_days integer) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $$
DECLARE
    wanted    date;
    partition text;
    begins    bigint;
BEGIN
    -- One at a time: CREATE TABLE IF NOT EXISTS alone is not safe against itself.
    PERFORM pg_advisory_xact_lock(hashtextextended('etl.ensure_ledger_partitions', 0));
    FOR wanted IN
        SELECT DISTINCT d
        FROM unnest(days) AS d
        WHERE isfinite(d) AND d >= '1970-01-01' AND etl.ledger_day(d, retention_days) = d
        ORDER BY d
    LOOP
        partition := 'ledger_' || to_char(wanted, 'YYYYMMDD');
        IF to_regclass('etl.' || partition) IS NULL THEN
            begins := (wanted - date '1970-01-01') * bigint '86400000';
            EXECUTE format('CREATE TABLE etl.%I (LIKE etl.ledger INCLUDING ALL)', partition);
            EXECUTE format(
                'ALTER TABLE etl.ledger ATTACH PARTITION etl.%I FOR VALUES FROM (%s) TO (%s)', partition, begins, begins + 86400000
            );
        END IF;
        RETURN NEXT wanted;
    END LOOP;
END
$$;

-- As in 0002, and of etl.ledger_by_day, too.
CREATE OR REPLACE FUNCTION etl.prune_ledger(retention_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    oldest    CONSTANT date := etl.utc_today() - retention_days;
    partition name;
    deleted   bigint;
    of_before bigint := 0;
BEGIN
    IF retention_days < 1 THEN
        RAISE EXCEPTION 'retention_days must be at least 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('etl.prune_ledger', 0)) THEN
        RETURN 0;
    END IF;
    DELETE FROM etl.ledger_undated WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM etl.ledger_undated WHERE recorded_on < oldest LIMIT 10000 FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF to_regclass('etl.ledger_by_day_undated') IS NOT NULL THEN
        DELETE FROM etl.ledger_by_day_undated WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM etl.ledger_by_day_undated WHERE recorded_on < oldest LIMIT 10000 FOR UPDATE SKIP LOCKED
        ));
        GET DIAGNOSTICS of_before = ROW_COUNT;
    END IF;
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent IN (to_regclass('etl.ledger'), to_regclass('etl.ledger_by_day'))
            AND c.relname ~ '^ledger_(by_day_)?[0-9]{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
        -- Those of before first, as etl.ledger_add uses them: in another order the two would deadlock.
        ORDER BY i.inhparent = 'etl.ledger'::regclass, right(c.relname, 8)
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE etl.%I', partition);
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
    END LOOP;
    RETURN greatest(deleted, of_before);
END
$$;

-- The time under which the ledger has a key that was sent then: -1 where it has no partition.
CREATE FUNCTION etl.ledger_time(sent bigint, earliest bigint, latest bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN sent BETWEEN earliest AND latest THEN sent ELSE -1 END $$;

-- Records keys and says of each, in their order, whether it is new. A key is either recorded or known; another transaction with the
-- same key is waited for.
--
-- Nearly always all are new. So they are recorded as if they were, which costs half of looking first; only where that fails, each is
-- looked up. `doubtful` spares the attempt where there have been repeats lately. `known` are keys that count as recorded.
--
-- The keys' order is the order in which they are locked: whoever records keys sorts them, by time and text.
CREATE FUNCTION etl.ledger_add(keys text[], sent bigint[], retention_days integer, known text[], doubtful boolean)
RETURNS boolean[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    today    CONSTANT date := etl.utc_today();
    -- Tomorrow is for clocks that are a little ahead.
    earliest CONSTANT bigint := greatest(0, (today - retention_days - date '1970-01-01') * bigint '86400000');
    latest   CONSTANT bigint := (today + 2 - date '1970-01-01') * bigint '86400000' - 1;
    before   boolean := false;
BEGIN
    IF to_regclass('etl.ledger_by_day') IS NOT NULL THEN
        -- The newest by its index: where the oldest were, there may be nothing for long.
        before := (SELECT max(recorded_on) FROM etl.ledger_by_day_undated) IS NOT NULL
            OR (SELECT count(*) FROM pg_inherits WHERE inhparent = to_regclass('etl.ledger_by_day')) > 1;
    END IF;
    IF NOT (doubtful OR before OR cardinality(known) > 0) THEN
        BEGIN
            INSERT INTO etl.ledger (sent_at_millis, recorded_on, key)
            SELECT
                etl.ledger_time(k.sent, earliest, latest),
                CASE WHEN etl.ledger_time(k.sent, earliest, latest) < 0 THEN today END,
                k.key
            FROM unnest(keys, sent) AS k (key, sent);
            RETURN array_fill(true, ARRAY[cardinality(keys)]);
        EXCEPTION WHEN unique_violation THEN
            -- Nothing of it is there any more.
            NULL;
        END;
    END IF;
    IF before THEN
        known := known || etl.ledger_known_before(keys, sent, earliest, latest);
    END IF;
    RETURN etl.ledger_add_new(keys, sent, known, earliest, latest, today);
END
$$;

-- The same by looking each of them up.
CREATE FUNCTION etl.ledger_add_new(keys text[], sent bigint[], known text[], earliest bigint, latest bigint, today date)
RETURNS boolean[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
-- A plan for any arrays believes that they have ten elements, and would join thousands in nested loops.
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    fresh boolean[];
BEGIN
    WITH wanted AS MATERIALIZED (
        SELECT k.place, k.key, etl.ledger_time(k.sent, earliest, latest) AS sent_at_millis
        FROM unnest(keys, sent) WITH ORDINALITY AS k (key, sent, place)
    ),
    added AS (
        INSERT INTO etl.ledger AS l (sent_at_millis, recorded_on, key)
        SELECT w.sent_at_millis, CASE WHEN w.sent_at_millis < 0 THEN today END, w.key
        FROM wanted AS w
        WHERE w.key <> ALL (known)
        ORDER BY w.place
        ON CONFLICT (sent_at_millis, key) DO NOTHING
        RETURNING l.sent_at_millis, l.key
    )
    SELECT array_agg(a.key IS NOT NULL ORDER BY w.place) INTO fresh
    FROM wanted AS w LEFT JOIN added AS a ON a.key = w.key AND a.sent_at_millis = w.sent_at_millis;
    RETURN coalesce(fresh, '{}');
END
$$;

-- Those of the keys that were stored before this migration. A key without a time of its own may be there under any day: what a source
-- that knows no times brought was recorded under the day of its receipt.
CREATE FUNCTION etl.ledger_known_before(keys text[], sent bigint[], earliest bigint, latest bigint) RETURNS text[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
-- Thousands of look-ups in dozens of partitions look so expensive that each call would be compiled, for longer than it takes.
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN ARRAY(
        SELECT k.key
        FROM unnest(keys, sent) AS k (key, sent)
        WHERE CASE
            WHEN etl.ledger_time(k.sent, earliest, latest) < 0
                THEN (SELECT true FROM etl.ledger_by_day AS l WHERE l.key = k.key LIMIT 1)
            ELSE (
                SELECT true FROM etl.ledger_by_day AS l
                WHERE l.key = k.key AND l.day = date '1970-01-01' + (k.sent / 86400000)::integer
            )
        END
    );
END
$$;

-- Those of the keys that the quarantine knows. Planned for each call, by the quarantine's size: a plan that reads it, made while it was small,
-- must not be kept when it is not, and as long as it is small, looking each key up costs more than all the rest of the ledger.
CREATE FUNCTION etl.quarantined(keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan
SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT k.key FROM unnest(keys) AS k (key) WHERE EXISTS (SELECT FROM etl.quarantine AS q WHERE q.key = k.key);
END
$$;

-- Those of `wanted`, all of them among `keys`, that the ledger has under any time that is known of them: the one with which they come,
-- none, or those that the quarantine knows.
CREATE FUNCTION etl.ledger_find(wanted text[], keys text[], sent bigint[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Look-ups, as above.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT DISTINCT k.key
    FROM unnest(keys, sent) AS k (key, sent)
    WHERE k.key = ANY (wanted) AND EXISTS (
        SELECT FROM etl.ledger AS l
        WHERE l.key = k.key AND l.sent_at_millis = ANY (
            ARRAY[-1, k.sent] || ARRAY(
                SELECT unnest(ARRAY[q.queued_at_millis, round(extract(epoch FROM q.sent_at) * 1000)::bigint])
                FROM etl.quarantine AS q WHERE q.key = k.key
            )
        )
    );
    IF to_regclass('etl.ledger_by_day') IS NOT NULL THEN
        RETURN QUERY SELECT DISTINCT l.key FROM etl.ledger_by_day AS l WHERE l.key = ANY (wanted);
    END IF;
END
$$;

REVOKE EXECUTE ON FUNCTION etl.ledger_add, etl.ledger_add_new, etl.ledger_known_before, etl.ledger_find FROM PUBLIC;

DO $$
DECLARE
    owner  CONSTANT name := current_setting('fetch_etl.ledger_owner');
    object text;
BEGIN
    IF owner = current_user THEN
        RETURN;
    END IF;
    FOR object IN
        SELECT format('TABLE %s', oid::regclass) FROM pg_class WHERE oid IN ('etl.ledger'::regclass, 'etl.ledger_undated'::regclass)
        UNION ALL
        SELECT format('FUNCTION %s', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = 'etl'::regnamespace
            AND proname IN ('ledger_time', 'ledger_add', 'ledger_add_new', 'ledger_known_before', 'quarantined', 'ledger_find')
    LOOP
        EXECUTE format('ALTER %s OWNER TO %I', object, owner);
    END LOOP;
END
$$;
