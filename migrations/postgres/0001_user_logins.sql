-- The table that the masked logins go to. Where it exists already, with the first seven columns, it is taken over with its rows.

-- A long query on an existing table holds up ALTER TABLE, and whoever comes behind it too: better to fail and be tried again.
SET LOCAL lock_timeout = '10s';

CREATE TABLE IF NOT EXISTS user_logins (
    user_id          varchar(128),
    device_type      varchar(32),
    masked_ip        varchar(256),
    masked_device_id varchar(256),
    locale           varchar(32),
    app_version      integer,
    create_date      date
);

-- NULL in all of these marks a row that was there before: which method masked it, and when, is not known.
ALTER TABLE user_logins
    ADD COLUMN IF NOT EXISTS app_version_text varchar(64),
    ADD COLUMN IF NOT EXISTS message_id       varchar(128),
    ADD COLUMN IF NOT EXISTS mask_key_id      integer,
    ADD COLUMN IF NOT EXISTS ingested_at      timestamptz;

-- A step of its own: together with ADD COLUMN it would date the rows that are there to the time of this migration.
ALTER TABLE user_logins ALTER COLUMN ingested_at SET DEFAULT now();
