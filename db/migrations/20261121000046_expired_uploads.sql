-- migrate:up
CREATE TABLE expired_uploads (
    id         text        NOT NULL,
    expired_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT expired_uploads_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE expired_uploads IS 'Uploads that nobody finished in time, for a while: their senders hear that they were too late.';

CREATE INDEX expired_uploads_expired_at_idx ON expired_uploads (expired_at);

-- migrate:down
DROP TABLE expired_uploads;
