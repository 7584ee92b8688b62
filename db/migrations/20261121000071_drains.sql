-- migrate:up
CREATE TABLE drains (
    place      text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT drains_pkey PRIMARY KEY (place),
    CONSTRAINT drains_place_shape CHECK (place ~ '^[a-z0-9-]{1,64}$')
);
COMMENT ON TABLE drains IS 'Places that nothing is written to any more, and that what they have is moved out of.';

-- migrate:down
DROP TABLE drains;
