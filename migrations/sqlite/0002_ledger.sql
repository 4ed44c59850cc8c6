-- The ledger: the keys of all messages whose outcome is stored, so that a repeat is recognised and not stored again. A key is
-- known whatever the day and the origin, and deleted by the day on which it was recorded.

CREATE TABLE etl_ledger (
    key         TEXT PRIMARY KEY,
    recorded_on TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX etl_ledger_recorded_on ON etl_ledger (recorded_on);
