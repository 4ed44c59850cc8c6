-- What is kept of messages that could not become a row: why and where, and no value of them in clear.

CREATE TABLE etl_quarantine (
    key           TEXT PRIMARY KEY,
    reason        TEXT NOT NULL,
    -- The field concerned.
    field         TEXT,
    -- Place of a JSON error, both from 1.
    line          INTEGER,
    column_number INTEGER,
    -- Characters of the field, or bytes of the body where no field is named.
    length        INTEGER,
    -- SQLite's result code with which it refused the row.
    sink_code     TEXT,
    body_bytes    INTEGER NOT NULL,
    -- How often the queue had delivered it when it was last rejected.
    receive_count INTEGER NOT NULL,
    -- The whole message, readable by the recipient only, and a fingerprint of that recipient's public key.
    recipient_id  TEXT,
    sealed_body   BLOB,
    sent_at       TEXT NOT NULL,
    first_seen_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    last_seen_at  TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    state         TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    CHECK ((recipient_id IS NULL) = (sealed_body IS NULL))
) STRICT;
