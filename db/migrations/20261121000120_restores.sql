-- migrate:up
-- What storages were asked to bring back from their archives, where there is a limit to that.
CREATE TABLE restores (
    digest   bytea       NOT NULL,
    place    text        NOT NULL,
    bytes    bigint      NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT restores_pkey PRIMARY KEY (digest, place),
    CONSTRAINT restores_bytes_not_negative CHECK (bytes >= 0)
);
COMMENT ON COLUMN restores.asked_at IS 'when it was paid for; asked again within a day, it is paid for once';

CREATE INDEX restores_asked_idx ON restores (asked_at);

-- migrate:down
DROP TABLE restores;
