-- The ledger: the keys of all messages whose outcome is stored, so that a repeat is recognised and not stored again.
--
-- A message that the queue names keeps its time of sending however often it is delivered: its key lives in the partition of that
-- UTC day, and forgetting a day is DROP TABLE. A key that the producer names may be sent again on any day, and a time of sending
-- outside the retained days has no partition: such keys live in the partition `ledger_undated`, as day `-infinity`, where the key
-- alone is unique, and are deleted by the day on which they were recorded.

CREATE SCHEMA IF NOT EXISTS etl;

CREATE TABLE etl.ledger (
    key         text COLLATE "C" NOT NULL,
    day         date NOT NULL,
    recorded_on date NOT NULL,
    -- The key first, so that one key can be looked up in all days.
    PRIMARY KEY (key, day)
) PARTITION BY LIST (day);

COMMENT ON TABLE etl.ledger IS 'fetch-etl: keys of the messages that are stored, by UTC day of sending';

CREATE TABLE etl.ledger_undated PARTITION OF etl.ledger FOR VALUES IN ('-infinity');
CREATE INDEX ledger_undated_recorded_on ON etl.ledger_undated (recorded_on);

-- The database's clock decides, so that all workers agree.
CREATE FUNCTION etl.utc_today() RETURNS date
LANGUAGE sql STABLE
AS $$ SELECT (now() AT TIME ZONE 'UTC')::date $$;

-- The partition's day of a key that the queue named. Tomorrow is for clocks that are a little ahead.
CREATE FUNCTION etl.ledger_day(sent_on date, retention_days integer) RETURNS date
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN sent_on BETWEEN etl.utc_today() - retention_days AND etl.utc_today() + 1 THEN sent_on
        ELSE '-infinity'
    END
$$;

-- Makes the missing partitions for these days and returns those of the days that have one; days outside the retained ones have none.
-- SECURITY DEFINER: a worker needs no right to make tables. CREATE and ATTACH instead of CREATE … PARTITION OF, because that one
-- would lock the whole ledger against the writes that are under way.
CREATE FUNCTION etl.ensure_ledger_partitions(days date[], retention_days integer) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '10s'
AS $$
DECLARE
    wanted    date;
    partition text;
BEGIN
    -- One at a time: CREATE TABLE IF NOT EXISTS alone is not safe against itself.
    PERFORM pg_advisory_xact_lock(hashtextextended('etl.ensure_ledger_partitions', 0));
    FOR wanted IN
        SELECT DISTINCT d FROM unnest(days) AS d WHERE etl.ledger_day(d, retention_days) = d AND isfinite(d) ORDER BY d
    LOOP
        partition := 'ledger_' || to_char(wanted, 'YYYYMMDD');
        IF to_regclass('etl.' || partition) IS NULL THEN
            EXECUTE format('CREATE TABLE etl.%I (LIKE etl.ledger INCLUDING ALL)', partition);
            EXECUTE format('ALTER TABLE etl.ledger ATTACH PARTITION etl.%I FOR VALUES IN (%L)', partition, wanted);
        END IF;
        RETURN NEXT wanted;
    END LOOP;
END
$$;

-- Forgets keys past retention and returns how many of the undated ones it deleted: at most 10,000, so that a call stays short;
-- where it is as many, there may be more. A partition that cannot be locked soon is left for the next call.
CREATE FUNCTION etl.prune_ledger(retention_days integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
AS $$
DECLARE
    oldest    CONSTANT date := etl.utc_today() - retention_days;
    partition name;
    deleted   bigint;
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
    FOR partition IN
        SELECT c.relname
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'etl.ledger'::regclass
            AND c.relname ~ '^ledger_[0-9]{8}$'
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
        ORDER BY c.relname
    LOOP
        BEGIN
            EXECUTE format('DROP TABLE etl.%I', partition);
        EXCEPTION WHEN lock_not_available THEN
            EXIT;
        END;
    END LOOP;
    RETURN deleted;
END
$$;

REVOKE EXECUTE ON FUNCTION etl.ensure_ledger_partitions, etl.prune_ledger FROM PUBLIC;
