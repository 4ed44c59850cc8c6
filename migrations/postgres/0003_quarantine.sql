-- What is kept of messages that could not become a row: why and where, and no value of them in clear.

CREATE TABLE etl.quarantine (
    key           text COLLATE "C" PRIMARY KEY,
    reason        text NOT NULL,
    field         text,
    line          bigint,
    column_number bigint,
    length        bigint,
    sink_code     text,
    body_bytes    bigint NOT NULL,
    receive_count bigint NOT NULL,
    recipient_id  text,
    sealed_body   bytea,
    sent_at       timestamptz NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    CHECK ((recipient_id IS NULL) = (sealed_body IS NULL))
);

-- Ciphertext: trying to compress it costs time and gains nothing.
ALTER TABLE etl.quarantine ALTER COLUMN sealed_body SET STORAGE EXTERNAL;

COMMENT ON TABLE etl.quarantine IS 'fetch-etl: messages that could not become a row, without their values in clear';
COMMENT ON COLUMN etl.quarantine.key IS 'the message''s key, as in etl.ledger';
COMMENT ON COLUMN etl.quarantine.field IS 'the field concerned';
COMMENT ON COLUMN etl.quarantine.line IS 'line of a JSON error, from 1';
COMMENT ON COLUMN etl.quarantine.column_number IS 'column of a JSON error, from 1';
COMMENT ON COLUMN etl.quarantine.length IS 'characters of the field, or bytes of the body where no field is named';
COMMENT ON COLUMN etl.quarantine.sink_code IS 'SQLSTATE with which the database refused the row';
COMMENT ON COLUMN etl.quarantine.body_bytes IS 'length of the whole message';
COMMENT ON COLUMN etl.quarantine.receive_count IS 'how often the queue had delivered it when it was last rejected';
COMMENT ON COLUMN etl.quarantine.recipient_id IS 'who can open sealed_body: a fingerprint of the public key';
COMMENT ON COLUMN etl.quarantine.sealed_body IS 'the whole message, readable by the recipient only';
