-- What etl-admin needs of the quarantine, as in Postgres. SQLite knows no users: who closed an entry is not known here.

-- Whether the key is the producer's, or else the queue's id of the message.
ALTER TABLE etl_quarantine ADD COLUMN by_producer INTEGER NOT NULL DEFAULT 0 CHECK (by_producer IN (0, 1));

-- When it was replayed (it is a row now) or discarded (given up). Neither keeps a body.
ALTER TABLE etl_quarantine ADD COLUMN closed_at TEXT;
