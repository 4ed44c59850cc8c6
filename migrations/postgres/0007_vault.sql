-- Masked values for those who may have them back: readable with the recipient's private key only.

-- A key for many values, sealed to the recipient; the worker that made it keeps it for ten minutes at most.
CREATE TABLE etl.vault_data_keys (
    id           bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    recipient_id text NOT NULL,
    sealed_key   bytea NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE etl.pii_vault (
    field         text COLLATE "C" NOT NULL,
    mask          bytea NOT NULL CHECK (octet_length(mask) = 64),
    mask_key_id   integer NOT NULL,
    dek_id        bytea NOT NULL,
    ciphertext    bytea NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    sealed_mask   bytea,
    sealed_key_id integer,
    PRIMARY KEY (field, mask),
    CHECK ((sealed_mask IS NULL) = (sealed_key_id IS NULL))
);

-- Ciphertext: trying to compress it costs time and gains nothing.
ALTER TABLE etl.pii_vault ALTER COLUMN ciphertext SET STORAGE EXTERNAL;
ALTER TABLE etl.vault_data_keys ALTER COLUMN sealed_key SET STORAGE EXTERNAL;

COMMENT ON TABLE etl.pii_vault IS 'fetch-etl: the values behind masks, readable with the private key of the recipient only';
COMMENT ON COLUMN etl.pii_vault.mask IS 'the 64 bytes of the mask, by which a value is found';
COMMENT ON COLUMN etl.pii_vault.dek_id IS 'the key under which it is encrypted, in etl.vault_data_keys';
COMMENT ON COLUMN etl.pii_vault.sealed_mask IS 'the mask that the ciphertext is bound to, where a rotation has changed the mask since';
COMMENT ON COLUMN etl.pii_vault.sealed_key_id IS 'the key of that mask';
COMMENT ON TABLE etl.vault_data_keys IS 'fetch-etl: keys of the vault, sealed to its recipient';
