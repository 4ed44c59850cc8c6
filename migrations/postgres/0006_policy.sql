-- What all workers that write to this database must agree on, and who is not to be written any more.

-- One row: the policy in force. Its changes are in etl.policy_history.
CREATE TABLE etl.policy (
    only_row          boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version           bigint NOT NULL,
    methods           text NOT NULL,
    key_id            integer NOT NULL,
    key_check         text NOT NULL,
    domain            text NOT NULL,
    canonical_version integer NOT NULL,
    since             timestamptz NOT NULL DEFAULT now(),
    set_by            text NOT NULL DEFAULT session_user
);

COMMENT ON TABLE etl.policy IS 'fetch-etl: the masking policy in force; a worker with another one refuses to start, and to write';
COMMENT ON COLUMN etl.policy.key_check IS 'determined by the key, and useless for finding it';

CREATE TABLE etl.policy_history (LIKE etl.policy INCLUDING DEFAULTS INCLUDING COMMENTS, PRIMARY KEY (version));
ALTER TABLE etl.policy_history DROP COLUMN only_row;

COMMENT ON TABLE etl.policy_history IS 'fetch-etl: every masking policy that was ever in force';

-- Persons who were erased: whatever comes of theirs, again or for the first time, is stored without its masks.
CREATE TABLE etl.erased (
    user_id   text COLLATE "C" PRIMARY KEY,
    erased_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE etl.erased IS 'fetch-etl: persons of whom no masks are stored any more; without an entry, a late or replayed message would bring them back';

-- Who writes holds this lock until the end of the transaction, shared; who changes what is above holds it alone. So there is no
-- writer that began before a change and commits after it.
CREATE FUNCTION etl.policy_lock() RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$ SELECT hashtextextended('etl.policy', 0) $$;

-- What a write must know before it begins: whether the policy with this version is in force (or whether there is none to hold to),
-- and which of these persons were erased.
--
-- plpgsql and VOLATILE: each statement in it sees what is committed when it begins, which is after the lock was waited for; the
-- statement that calls it would still see the state from before. SECURITY DEFINER: who writes rows need not read these tables.
CREATE FUNCTION etl.enter(held_to bigint, user_ids text[], OUT in_force boolean, OUT erased text[])
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(etl.policy_lock());
    in_force := held_to IS NULL OR EXISTS (SELECT FROM etl.policy WHERE version = held_to);
    erased := '{}';
    -- Nearly always there is nobody, and then this is all.
    IF EXISTS (SELECT FROM etl.erased) THEN
        erased := ARRAY(SELECT e.user_id FROM etl.erased AS e WHERE e.user_id = ANY (user_ids));
    END IF;
END
$$;

-- Puts a policy in force where the one with the version `replaces` is, or where there is none and it is NULL. Returns its version;
-- NULL where another one is in force.
CREATE FUNCTION etl.put_policy_in_force(
    new_methods text, new_key_id integer, new_key_check text, new_domain text, new_canonical_version integer, replaces bigint
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '60s'
AS $$
DECLARE
    current_version bigint;
    new_version     bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(etl.policy_lock());
    SELECT version INTO current_version FROM etl.policy;
    IF current_version IS DISTINCT FROM replaces THEN
        RETURN NULL;
    END IF;
    new_version := coalesce(current_version, 0) + 1;
    DELETE FROM etl.policy;
    INSERT INTO etl.policy (version, methods, key_id, key_check, domain, canonical_version)
    VALUES (new_version, new_methods, new_key_id, new_key_check, new_domain, new_canonical_version);
    INSERT INTO etl.policy_history (version, methods, key_id, key_check, domain, canonical_version, since, set_by)
    SELECT version, methods, key_id, key_check, domain, canonical_version, since, set_by FROM etl.policy;
    RETURN new_version;
END
$$;

-- The first worker of all writes its policy down, and needs no right on the table for that; changing it is for its owner.
CREATE FUNCTION etl.put_first_policy_in_force(
    new_methods text, new_key_id integer, new_key_check text, new_domain text, new_canonical_version integer
) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT etl.put_policy_in_force($1, $2, $3, $4, $5, NULL) $$;

-- The policy in force, for those who may not read the table.
CREATE FUNCTION etl.policy_in_force(
    OUT version bigint, OUT methods text, OUT key_id integer, OUT key_check text, OUT domain text, OUT canonical_version integer
) RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT version, methods, key_id, key_check, domain, canonical_version FROM etl.policy $$;

REVOKE EXECUTE ON FUNCTION etl.put_policy_in_force, etl.put_first_policy_in_force, etl.enter, etl.policy_in_force FROM PUBLIC;

-- Roles that write already shall go on writing.
DO $$
DECLARE
    writer name;
BEGIN
    FOR writer IN
        SELECT rolname FROM pg_roles
        WHERE NOT rolsuper AND rolname <> current_user AND rolname !~ '^pg_' AND has_table_privilege(oid, 'etl.ledger', 'INSERT')
    LOOP
        EXECUTE format(
            'GRANT EXECUTE ON FUNCTION etl.put_first_policy_in_force, etl.enter, etl.policy_in_force TO %I', writer
        );
    END LOOP;
END
$$;
