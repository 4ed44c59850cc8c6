-- The group roles of fetch-etl, for a DBA: where the migrations were not allowed to create them, or before there are any.
--
--   psql "postgres://superuser@db/logins" -f deploy/roles.sql
--
-- Run it as a superuser, in the database with user_logins, as often as you like. CREATEROLE is enough to make the roles; the tables'
-- owner gives them their rights then, as the last notice says. Then give logins what they need:
--
--   GRANT etl_writer  TO the_worker;        -- writes rows, rejects and the vault; reads back masks and key ids, no rows and no vault
--   GRANT etl_analyst TO somebody;          -- reads user_logins, which is masked, and nothing else
--   GRANT etl_reveal  TO somebody_trusted;  -- reads the vault too; to open it takes the private key besides
--
-- Who migrates owns the tables, and is none of these. Whoever runs `etl-admin quarantine` needs SELECT and UPDATE on etl.quarantine.
--
-- What each role may do is said in one place, the function etl.grant_roles that a migration makes; it runs with the rights of the
-- tables' owner. user_logins is looked for on the search path: PGOPTIONS='-c search_path=app' where it is in another schema.

-- Nobody who may make functions or operators in a schema on the path runs anything with your rights here: the table is found with names
-- that say their schema, and from then on only the system's own are looked for.
DO $$
BEGIN
    PERFORM pg_catalog.set_config(
        'fetch_etl.logins', coalesce(pg_catalog.to_regclass('user_logins')::pg_catalog.oid::pg_catalog.text, ''), false
    );
END
$$;

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    wanted text;
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

COMMIT;

BEGIN;
SET LOCAL search_path = pg_catalog, pg_temp;

DO $$
DECLARE
    logins        CONSTANT text := current_setting('fetch_etl.logins');
    runs_as_owner boolean;
    may_be_called boolean;
BEGIN
    SELECT p.prosecdef, has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
    INTO runs_as_owner, may_be_called
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'etl' AND p.proname = 'grant_roles' AND p.pronargs = 1 AND p.proargtypes[0] = 'regclass'::regtype;
    IF runs_as_owner IS NULL THEN
        RAISE NOTICE 'there are no tables here yet: the migrations will grant what is needed';
    ELSIF NOT may_be_called THEN
        RAISE NOTICE 'the roles are made; let the tables'' owner run SELECT etl.grant_roles(''user_logins'')';
    ELSIF NOT runs_as_owner THEN
        RAISE EXCEPTION 'etl.grant_roles is not the one of fetch-etl: it would run with your rights';
    ELSIF logins = '' THEN
        RAISE EXCEPTION 'user_logins is not on the search path: PGOPTIONS=''-c search_path=…'' says where it is';
    ELSE
        PERFORM etl.grant_roles(logins::oid::regclass);
    END IF;
END
$$;

COMMIT;
