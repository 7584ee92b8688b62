-- migrate:up
CREATE TABLE uploads (
    id          text        NOT NULL,
    owner_id    text        NOT NULL,
    space_id    text        NOT NULL,
    name        text        NOT NULL,
    file_name   text        NOT NULL,
    media_type  text        NOT NULL,
    size        bigint      NOT NULL,
    description text,
    aliases     text[]      NOT NULL DEFAULT '{}',
    checksums   jsonb       NOT NULL,
    digest      bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    CONSTRAINT uploads_pkey PRIMARY KEY (id),
    CONSTRAINT uploads_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES principals,
    CONSTRAINT uploads_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces,
    CONSTRAINT uploads_digest_fkey FOREIGN KEY (digest) REFERENCES blobs,
    CONSTRAINT uploads_size_not_negative CHECK (size >= 0),
    CONSTRAINT uploads_checksums_map CHECK (jsonb_typeof(checksums) = 'object')
);
COMMENT ON TABLE uploads IS 'Bytes that were announced, and may have come; registering makes an object of them.';
COMMENT ON COLUMN uploads.id IS 'unguessable: who knows it may send the bytes';
COMMENT ON COLUMN uploads.digest IS 'of the bytes, once they have come';

-- Does anything refer to this blob? The sweep asks, and so does the foreign key.
CREATE INDEX uploads_digest_idx ON uploads (digest) WHERE digest IS NOT NULL;
CREATE INDEX uploads_expires_at_idx ON uploads (expires_at);

-- migrate:down
DROP TABLE uploads;
