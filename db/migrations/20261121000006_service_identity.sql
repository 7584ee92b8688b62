-- migrate:up
CREATE TABLE service (
    id         uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT service_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX service_one_row ON service ((true));
COMMENT ON TABLE service IS 'Which service this database is of. Its storage carries the same id, and none other.';

INSERT INTO service (id) VALUES (gen_random_uuid());

-- migrate:down
DROP TABLE service;
