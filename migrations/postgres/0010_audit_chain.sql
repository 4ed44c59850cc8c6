-- The chain of the audit is made by the table itself, whoever inserts: until now it was made by etl.append_audit, and the owner of the
-- tables could continue it with a plain INSERT of whatever prev_hash, hash, time and role.

-- What says where a row stands in the chain, when and as whom, is the database's word.
CREATE FUNCTION etl.chain_audit() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entry etl.audit := NEW;
BEGIN
    IF num_nonnulls(entry.seq, entry.at, entry.db_role, entry.prev_hash, entry.hash) > 0 THEN
        RAISE EXCEPTION 'INSERT into %.% is refused: seq, at, db_role, prev_hash and hash are given by the database', TG_TABLE_SCHEMA,
            TG_TABLE_NAME USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    -- One at a time, so that the chain does not fork; each statement here sees what was committed while the lock was waited for.
    PERFORM pg_advisory_xact_lock(hashtextextended('etl.audit', 0));
    SELECT h.seq + 1, h.hash INTO entry.seq, entry.prev_hash FROM etl.audit_head AS h FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'etl.audit_head is empty' USING ERRCODE = 'data_corrupted';
    END IF;
    entry.at := clock_timestamp();
    entry.db_role := session_user;
    entry.hash := etl.audit_hash(entry);
    RETURN entry;
END
$$;

CREATE FUNCTION etl.advance_audit_head() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE etl.audit_head SET seq = NEW.seq, hash = NEW.hash;
    RETURN NULL;
END
$$;

-- The head is the last row that is there, and nothing else.
CREATE FUNCTION etl.refuse_made_up_audit_head() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM etl.audit AS a WHERE a.seq = NEW.seq AND a.hash = NEW.hash) THEN
        RAISE EXCEPTION '% of %.% is refused: the audit is append-only, and has no such row', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER chain BEFORE INSERT ON etl.audit FOR EACH ROW EXECUTE FUNCTION etl.chain_audit();
CREATE TRIGGER head_follows AFTER INSERT ON etl.audit FOR EACH ROW EXECUTE FUNCTION etl.advance_audit_head();
CREATE TRIGGER is_a_row BEFORE UPDATE ON etl.audit_head FOR EACH ROW EXECUTE FUNCTION etl.refuse_made_up_audit_head();

-- ALWAYS: session_replication_role does not switch them off.
ALTER TABLE etl.audit ENABLE ALWAYS TRIGGER chain, ENABLE ALWAYS TRIGGER head_follows;
ALTER TABLE etl.audit_head ENABLE ALWAYS TRIGGER is_a_row;

-- The way in for those who have no right on the table, as before. The time and the role are the database's word, the rest is the
-- caller's.
CREATE OR REPLACE FUNCTION etl.append_audit(
    os_user text, host text, action text, reason text, subject text, level text, entries bigint,
    OUT seq bigint, OUT hash bytea
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '60s'
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO etl.audit AS a (os_user, host, action, reason, subject, level, entries)
    VALUES (
        append_audit.os_user, append_audit.host, append_audit.action, append_audit.reason, append_audit.subject, append_audit.level,
        append_audit.entries
    )
    RETURNING a.seq, a.hash INTO append_audit.seq, append_audit.hash;
END
$$;

REVOKE EXECUTE ON FUNCTION etl.chain_audit, etl.advance_audit_head, etl.refuse_made_up_audit_head FROM PUBLIC;
