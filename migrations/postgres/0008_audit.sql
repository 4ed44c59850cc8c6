-- Who looked at whose personal data, and who erased whom: appended only, and chained, so that what is changed later shows.

-- Each row's hash covers the row and the hash of the row before. The canonical form, version 1, is the SHA-512 of these, one behind
-- the other:
--
--   text  the constant `fetch-etl/audit/v1`
--   int8  seq
--   int8  at, in microseconds since 1970-01-01 00:00 UTC
--   text  db_role, os_user, host, action, reason, subject, level
--   int8  entries
--   64 bytes  prev_hash
--
-- int8 is 8 bytes, big-endian. A text is its length in bytes as 4 bytes, big-endian, and then its UTF-8; NULL is the length -1 alone.
-- So no two rows have the same form. `prev_hash` of the row with seq 1 is 64 zero bytes.
CREATE TABLE etl.audit (
    seq       bigint PRIMARY KEY,
    at        timestamptz NOT NULL,
    db_role   text NOT NULL,
    os_user   text NOT NULL,
    host      text,
    action    text NOT NULL,
    reason    text NOT NULL CHECK (reason ~ '\S'),
    subject   text NOT NULL,
    level     text,
    entries   bigint NOT NULL CHECK (entries >= 0),
    prev_hash bytea NOT NULL CHECK (octet_length(prev_hash) = 64),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 64)
);

COMMENT ON TABLE etl.audit IS 'fetch-etl: who looked at or erased personal data, and why; append-only and chained by hashes';
COMMENT ON COLUMN etl.audit.db_role IS 'the role that logged in, as the database knows it';
COMMENT ON COLUMN etl.audit.os_user IS 'who it was on the machine where it was done, as the program there says';
COMMENT ON COLUMN etl.audit.subject IS 'what it was about: never a value, but what identifies a mask, a row or a person';
COMMENT ON COLUMN etl.audit.entries IS 'how many entries of the vault were handed out or deleted';
COMMENT ON COLUMN etl.audit.prev_hash IS 'the hash of the row before';
COMMENT ON COLUMN etl.audit.hash IS 'SHA-512 over this row and prev_hash; the migration that made this table says how';

-- One row: the last row of the chain. A chain alone does not show that its end was cut off.
CREATE TABLE etl.audit_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL,
    hash     bytea NOT NULL CHECK (octet_length(hash) = 64)
);
INSERT INTO etl.audit_head (seq, hash) VALUES (0, decode(repeat('00', 64), 'hex'));

COMMENT ON TABLE etl.audit_head IS 'fetch-etl: seq and hash of the last row of etl.audit';

CREATE FUNCTION etl.audit_text(value text) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN $1 IS NULL THEN int4send(-1)
        ELSE int4send(octet_length(convert_to($1, 'UTF8'))) || convert_to($1, 'UTF8') END
$$;

CREATE FUNCTION etl.audit_hash(entry etl.audit) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sha512(
        etl.audit_text('fetch-etl/audit/v1')
        || int8send($1.seq)
        || int8send(round(extract(epoch FROM $1.at) * 1000000)::bigint)
        || etl.audit_text($1.db_role)
        || etl.audit_text($1.os_user)
        || etl.audit_text($1.host)
        || etl.audit_text($1.action)
        || etl.audit_text($1.reason)
        || etl.audit_text($1.subject)
        || etl.audit_text($1.level)
        || int8send($1.entries)
        || $1.prev_hash
    )
$$;

-- The only way in. One at a time, so that the chain does not fork; plpgsql and VOLATILE, so that each statement sees what was
-- committed while the lock was waited for. SECURITY DEFINER: who appends has no right on the tables. The time and the role are the
-- database's word, the rest is the caller's.
CREATE FUNCTION etl.append_audit(
    os_user text, host text, action text, reason text, subject text, level text, entries bigint,
    OUT seq bigint, OUT hash bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '60s'
AS $$
#variable_conflict use_column
DECLARE
    entry etl.audit;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('etl.audit', 0));
    SELECT h.seq + 1, h.hash INTO entry.seq, entry.prev_hash FROM etl.audit_head AS h FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'etl.audit_head is empty' USING ERRCODE = 'data_corrupted';
    END IF;
    entry.at := clock_timestamp();
    entry.db_role := session_user;
    entry.os_user := append_audit.os_user;
    entry.host := append_audit.host;
    entry.action := append_audit.action;
    entry.reason := append_audit.reason;
    entry.subject := append_audit.subject;
    entry.level := append_audit.level;
    entry.entries := append_audit.entries;
    entry.hash := etl.audit_hash(entry);
    INSERT INTO etl.audit VALUES (entry.*);
    UPDATE etl.audit_head SET seq = entry.seq, hash = entry.hash;
    seq := entry.seq;
    hash := entry.hash;
END
$$;

-- Also for the owner of the tables. A superuser, or an owner who drops the triggers first, can change rows all the same: that is what
-- the chain is for, and the head of the chain, noted elsewhere (`etl-admin audit verify --expect-head`), for one who forges all of it.
CREATE FUNCTION etl.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: the audit is append-only', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON etl.audit
    FOR EACH ROW EXECUTE FUNCTION etl.refuse_audit_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON etl.audit
    FOR EACH STATEMENT EXECUTE FUNCTION etl.refuse_audit_change();
CREATE TRIGGER no_delete BEFORE DELETE ON etl.audit_head
    FOR EACH ROW EXECUTE FUNCTION etl.refuse_audit_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON etl.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION etl.refuse_audit_change();
CREATE TRIGGER forward_only BEFORE UPDATE ON etl.audit_head
    FOR EACH ROW WHEN (NEW.seq <> OLD.seq + 1) EXECUTE FUNCTION etl.refuse_audit_change();

-- ALWAYS: session_replication_role does not switch them off.
ALTER TABLE etl.audit ENABLE ALWAYS TRIGGER append_only, ENABLE ALWAYS TRIGGER no_truncate;
ALTER TABLE etl.audit_head ENABLE ALWAYS TRIGGER no_delete, ENABLE ALWAYS TRIGGER no_truncate, ENABLE ALWAYS TRIGGER forward_only;

-- Held, for its session, by whoever goes over the stored masks as a whole: a rotation, an erasure. They exclude each other.
CREATE FUNCTION etl.maintenance_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$ SELECT hashtextextended('etl.maintenance', 0) $$;

-- A row that an unfinished rotation has not reached yet finds its entry by the mask that the entry had before.
CREATE INDEX pii_vault_sealed_mask ON etl.pii_vault (field, sealed_mask) WHERE sealed_mask IS NOT NULL;

REVOKE EXECUTE ON FUNCTION etl.append_audit, etl.audit_hash, etl.audit_text FROM PUBLIC;
