-- Whether a rotation of keys was left unfinished; and indexes for what every worker asks at its start.

-- One row from the moment before a rotation changes the first entry of the vault until it has been through all rows, so also after it
-- was killed. As long as it is there, an entry may have a mask that the rows which it belongs to do not have yet: whose it is cannot be
-- told, and nothing of the vault is deleted.
CREATE TABLE etl.rotation (
    only_row      boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    target_key_id integer NOT NULL,
    begun_at      timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE etl.rotation IS 'fetch-etl: a rotation of keys that is not finished; empty where there is none';

-- A rotation has been here, and whether it came to its end nobody wrote down. `etl-admin rotate` does what is left, if there is anything.
INSERT INTO etl.rotation (target_key_id)
SELECT key_id FROM etl.policy WHERE EXISTS (SELECT FROM etl.pii_vault WHERE sealed_mask IS NOT NULL);

-- For etl.newest_recipients.
CREATE INDEX vault_data_keys_created_at ON etl.vault_data_keys (created_at);
CREATE INDEX quarantine_sealed_last_seen_at ON etl.quarantine (last_seen_at) WHERE recipient_id IS NOT NULL;
