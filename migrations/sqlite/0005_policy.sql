-- What all workers that write to this file must agree on, as in Postgres.

-- One row: the policy in force. `key_check` is determined by the key, and useless for finding it.
CREATE TABLE etl_policy (
    only_row          INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    version           INTEGER NOT NULL,
    methods           TEXT NOT NULL,
    key_id            INTEGER NOT NULL,
    key_check         TEXT NOT NULL,
    domain            TEXT NOT NULL,
    canonical_version INTEGER NOT NULL,
    since             TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
