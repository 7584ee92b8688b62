-- migrate:up
CREATE TABLE principals (
    id         text        NOT NULL,
    kind       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT principals_pkey PRIMARY KEY (id),
    CONSTRAINT principals_id_shape CHECK (id ~ '^[A-Za-z0-9._~-]{1,128}$'),
    CONSTRAINT principals_kind_known CHECK (kind IN ('anonymous', 'user', 'key', 'worker'))
);
COMMENT ON TABLE principals IS 'Who can ask. Until identities are configured, everybody is anonymous.';

CREATE TABLE spaces (
    id         text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT spaces_pkey PRIMARY KEY (id),
    CONSTRAINT spaces_id_shape CHECK (id ~ '^[A-Za-z0-9._~-]{1,128}$')
);
COMMENT ON TABLE spaces IS 'A boundary of access: every object lives in one.';

INSERT INTO principals (id, kind) VALUES ('anonymous', 'anonymous');
INSERT INTO spaces (id) VALUES ('default');

-- migrate:down
DROP TABLE spaces;
DROP TABLE principals;
