-- The group roles of fetch-etl, for a DBA: where the migrations were not allowed to create them, or before there are any.
--
--   psql "postgres://superuser@db/logins" -f deploy/roles.sql
--
-- Run it as a superuser or with CREATEROLE, in the database with user_logins, as often as you like. Then give logins what they need:
--
--   GRANT etl_writer  TO the_worker;        -- writes rows, rejects and the vault; reads back masks and key ids, no rows and no vault
--   GRANT etl_analyst TO somebody;          -- reads user_logins, which is masked, and nothing else
--   GRANT etl_reveal  TO somebody_trusted;  -- reads the vault too; to open it takes the private key besides
--
-- Who migrates owns the tables, and is none of these. Whoever runs `etl-admin quarantine` needs SELECT and UPDATE on etl.quarantine.
--
-- What each role may do is said in one place, the function etl.grant_roles that a migration makes; it runs with the rights of the
-- tables' owner. user_logins is looked for on the search path: PGOPTIONS='-c search_path=app' where it is in another schema.

BEGIN;

DO $$
DECLARE
    wanted name;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['etl_writer', 'etl_analyst', 'etl_reveal'] LOOP
        CONTINUE WHEN to_regrole(wanted) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- By somebody else, just now.
            NULL;
        END;
    END LOOP;
END
$$;

DO $$
DECLARE
    runs_as_owner boolean;
BEGIN
    SELECT prosecdef INTO runs_as_owner FROM pg_proc WHERE oid = to_regprocedure('etl.grant_roles(regclass)');
    IF runs_as_owner IS NULL THEN
        RAISE NOTICE 'there are no tables here yet: the migrations will grant what is needed';
    ELSIF NOT runs_as_owner THEN
        RAISE EXCEPTION 'etl.grant_roles is not the one of fetch-etl: it would run with your rights';
    ELSE
        PERFORM etl.grant_roles('user_logins');
    END IF;
END
$$;

COMMIT;
