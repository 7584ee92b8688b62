-- migrate:up
CREATE TABLE blobs (
    digest     bytea       NOT NULL,
    size       bigint      NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT blobs_pkey PRIMARY KEY (digest),
    CONSTRAINT blobs_digest_length CHECK (octet_length(digest) = 32),
    CONSTRAINT blobs_size_not_negative CHECK (size >= 0)
);
COMMENT ON TABLE blobs IS 'A run of bytes, kept once. A row is written only after its bytes are durable.';
COMMENT ON COLUMN blobs.digest IS 'SHA-256, 32 bytes';
COMMENT ON COLUMN blobs.size IS 'bytes';

CREATE TABLE checksums (
    digest     bytea       NOT NULL,
    algorithm  text        NOT NULL,
    value      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT checksums_pkey PRIMARY KEY (digest, algorithm),
    CONSTRAINT checksums_digest_fkey FOREIGN KEY (digest) REFERENCES blobs ON DELETE CASCADE,
    CONSTRAINT checksums_algorithm_shape CHECK (algorithm ~ '^[a-z0-9-]{1,32}$' AND algorithm <> 'sha-256'),
    CONSTRAINT checksums_value_hex CHECK (value ~ '^([0-9a-f]{2}){1,64}$')
);
COMMENT ON TABLE checksums IS 'What is published about a blob besides its SHA-256, which is its name.';

CREATE TABLE replicas (
    digest     bytea       NOT NULL,
    place      text        NOT NULL,
    key        text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT replicas_pkey PRIMARY KEY (digest, place),
    CONSTRAINT replicas_digest_fkey FOREIGN KEY (digest) REFERENCES blobs ON DELETE CASCADE,
    CONSTRAINT replicas_place_key_unique UNIQUE (place, key),
    CONSTRAINT replicas_place_shape CHECK (place ~ '^[a-z0-9-]{1,64}$'),
    CONSTRAINT replicas_key_not_empty CHECK (key <> '')
);
COMMENT ON TABLE replicas IS 'One copy of a blob in one place.';

-- migrate:down
DROP TABLE replicas;
DROP TABLE checksums;
DROP TABLE blobs;
