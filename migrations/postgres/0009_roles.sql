-- Group roles for people and programs, each with what it needs and nothing more; `GRANT etl_writer TO some_login` is all it takes.
-- Roles belong to the server: its databases share them, and each gives them rights of its own.

-- Gives those of the roles that are there their rights, and may be called again at any time. A later migration that brings something
-- they need replaces this function and calls it.
--
-- SECURITY DEFINER: a superuser who runs deploy/roles.sql lends it nothing.
CREATE FUNCTION etl.grant_roles(logins regclass) RETURNS void
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
            etl.prune_ledger TO etl_writer;
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

REVOKE EXECUTE ON FUNCTION etl.grant_roles FROM PUBLIC;

-- Makes the roles, where that is allowed.
DO $$
DECLARE
    wanted  name;
    missing name[] := '{}';
BEGIN
    FOREACH wanted IN ARRAY ARRAY['etl_writer', 'etl_analyst', 'etl_reveal'] LOOP
        CONTINUE WHEN to_regrole(wanted) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION
            -- By a migration of another database of this server, just now.
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN missing := missing || wanted;
        END;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE NOTICE 'not allowed to create the roles %: let a DBA run deploy/roles.sql, if you want them',
            array_to_string(missing, ', ');
    END IF;
    PERFORM etl.grant_roles('user_logins');
END
$$;
