-- The table that the masked logins go to, with the meaning that every column has in Postgres. SQLite has no varchar(n) and no
-- date: lengths are checked, dates and times are text as ISO 8601 writes it.

CREATE TABLE user_logins (
    user_id          TEXT CHECK (length(user_id) <= 128),
    device_type      TEXT CHECK (length(device_type) <= 32),
    masked_ip        TEXT CHECK (length(masked_ip) <= 256),
    masked_device_id TEXT CHECK (length(masked_device_id) <= 256),
    locale           TEXT CHECK (length(locale) <= 32),
    app_version      INTEGER,
    create_date      TEXT,
    app_version_text TEXT CHECK (length(app_version_text) <= 64),
    message_id       TEXT CHECK (length(message_id) <= 128),
    mask_key_id      INTEGER,
    ingested_at      TEXT DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
