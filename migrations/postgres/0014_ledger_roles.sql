-- Who may use the ledger of 0013.

-- As in 0011, with etl.ledger_add and etl.ledger_find.
CREATE OR REPLACE FUNCTION etl.grant_roles(logins regclass) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    logins_schema CONSTANT oid := (SELECT relnamespace FROM pg_class WHERE oid = logins);
    member        name;
    audit         regprocedure;
BEGIN
    -- Two at a time would trip over the same rows of the catalog.
    PERFORM pg_advisory_xact_lock(hashtextextended('etl.grant_roles', 0));

    -- A worker: writes rows, and can read back neither them nor the vault.
    IF to_regrole('etl_writer') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA etl TO etl_writer;
        -- The columns are those that show which keys' masks are there.
        EXECUTE format('GRANT INSERT, SELECT (masked_ip, masked_device_id, mask_key_id) ON %s TO etl_writer', logins);
        GRANT SELECT, INSERT ON etl.ledger TO etl_writer;
        GRANT SELECT, INSERT, UPDATE ON etl.quarantine TO etl_writer;
        GRANT INSERT ON etl.pii_vault, etl.vault_data_keys TO etl_writer;
        GRANT EXECUTE ON FUNCTION etl.enter, etl.policy_in_force, etl.put_first_policy_in_force, etl.ensure_ledger_partitions,
            etl.prune_ledger, etl.ledger_add, etl.ledger_find, etl.newest_recipients TO etl_writer;
        -- `etl-worker check` says whether there are migrations to come.
        IF to_regclass('etl.schema_migrations') IS NOT NULL THEN
            GRANT SELECT ON etl.schema_migrations TO etl_writer;
        END IF;
    END IF;

    -- Who works with the masked logins.
    IF to_regrole('etl_analyst') IS NOT NULL THEN
        EXECUTE format('GRANT SELECT ON %s TO etl_analyst', logins);
    END IF;

    -- Who may have values back: it takes the private key besides, and each time an entry in the audit.
    IF to_regrole('etl_reveal') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA etl TO etl_reveal;
        EXECUTE format('GRANT SELECT ON %s TO etl_reveal', logins);
        GRANT SELECT ON etl.pii_vault, etl.vault_data_keys TO etl_reveal;
        FOR audit IN
            SELECT oid FROM pg_proc WHERE pronamespace = to_regnamespace('etl') AND proname = 'append_audit'
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO etl_reveal', audit);
        END LOOP;
    END IF;

    -- Where `public` is the schema, everybody has this already.
    FOR member IN
        SELECT rolname FROM pg_roles
        WHERE rolname IN ('etl_writer', 'etl_analyst', 'etl_reveal') AND NOT has_schema_privilege(oid, logins_schema, 'USAGE')
    LOOP
        BEGIN
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', logins_schema::regnamespace, member);
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE WARNING '% lacks USAGE on schema %, and only the schema''s owner can grant it',
                member, logins_schema::regnamespace;
        END;
    END LOOP;
END
$$;

SELECT etl.grant_roles('user_logins');

-- Roles that write already, without being members of etl_writer, go on writing.
DO $$
DECLARE
    writer name;
BEGIN
    FOR writer IN
        SELECT rolname FROM pg_roles
        WHERE NOT rolsuper AND rolname <> current_user AND rolname !~ '^pg_' AND has_table_privilege(oid, 'etl.quarantine', 'INSERT')
            AND NOT has_function_privilege(oid, 'etl.ledger_add(text[], bigint[], integer, text[], boolean)', 'EXECUTE')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT ON etl.ledger TO %I', writer);
        EXECUTE format('GRANT EXECUTE ON FUNCTION etl.ledger_add, etl.ledger_find TO %I', writer);
    END LOOP;
END
$$;
