-- migrate:up
CREATE TABLE idempotency_keys (
    principal_id   text        NOT NULL,
    key            text        NOT NULL,
    request_digest bytea       NOT NULL,
    object_ids     text[]      NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal_id, key),
    CONSTRAINT idempotency_keys_principal_id_fkey FOREIGN KEY (principal_id) REFERENCES principals,
    CONSTRAINT idempotency_keys_key_length CHECK (char_length(key) BETWEEN 1 AND 255)
);
COMMENT ON TABLE idempotency_keys IS 'Registrations that were done under a key: the same request again changes nothing.';
CREATE INDEX idempotency_keys_created_at_idx ON idempotency_keys (created_at);

-- migrate:down
DROP TABLE idempotency_keys;
