-- Who gave a message up, or brought it back, is asked long after.

ALTER TABLE etl.quarantine
    ADD COLUMN closed_at timestamptz,
    ADD COLUMN closed_by text;

COMMENT ON COLUMN etl.quarantine.closed_at IS 'when it was replayed or discarded';
COMMENT ON COLUMN etl.quarantine.closed_by IS 'the database role that replayed or discarded it';
