-- migrate:up
-- A job that was given up is listed once, until it is done: whoever ends one finds the others with the same payload.
CREATE INDEX pgqueuer_dead_payload_idx ON pgqueuer (entrypoint, md5(payload)) WHERE status = 'failed';

-- migrate:down
DROP INDEX pgqueuer_dead_payload_idx;
