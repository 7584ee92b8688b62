-- migrate:up
CREATE TABLE objects (
    id           text        NOT NULL,
    digest       bytea       NOT NULL,
    name         text        NOT NULL,
    file_name    text        NOT NULL,
    media_type   text        NOT NULL,
    description  text,
    version      text,
    owner_id     text        NOT NULL DEFAULT 'anonymous',
    space_id     text        NOT NULL DEFAULT 'default',
    created_time timestamptz NOT NULL DEFAULT now(),
    updated_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT objects_pkey PRIMARY KEY (id),
    CONSTRAINT objects_digest_fkey FOREIGN KEY (digest) REFERENCES blobs,
    CONSTRAINT objects_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES principals,
    CONSTRAINT objects_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces,
    CONSTRAINT objects_id_shape CHECK (id ~ '^[A-Za-z0-9._~-]{1,128}$'),
    CONSTRAINT objects_name_portable
        CHECK (name ~ '^[A-Za-z0-9._][A-Za-z0-9._-]{0,254}$' AND name NOT IN ('.', '..')),
    CONSTRAINT objects_file_name_length CHECK (char_length(file_name) BETWEEN 1 AND 255),
    CONSTRAINT objects_media_type_length CHECK (char_length(media_type) BETWEEN 3 AND 255)
);
COMMENT ON TABLE objects IS 'A DRS object: a name for a blob.';
COMMENT ON COLUMN objects.name IS 'in the portable characters that DRS asks for';
COMMENT ON COLUMN objects.file_name IS 'as the sender spelt it';
COMMENT ON COLUMN objects.created_time IS 'of the content, as DRS has it';

-- Does anything refer to this blob? The sweep asks, and so does the foreign key.
CREATE INDEX objects_digest_idx ON objects (digest);

CREATE TABLE aliases (
    object_id text NOT NULL,
    alias     text NOT NULL,
    CONSTRAINT aliases_pkey PRIMARY KEY (object_id, alias),
    CONSTRAINT aliases_object_id_fkey FOREIGN KEY (object_id) REFERENCES objects ON DELETE CASCADE,
    CONSTRAINT aliases_alias_length CHECK (char_length(alias) BETWEEN 1 AND 255)
);
COMMENT ON TABLE aliases IS 'Other names of an object.';

-- migrate:down
DROP TABLE aliases;
DROP TABLE objects;
