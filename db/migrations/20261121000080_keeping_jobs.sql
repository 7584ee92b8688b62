-- migrate:up
-- What is known of a job beside its place in the queue: how far it has come, and what went wrong the last time.
CREATE TABLE job_notes (
    job_id bigint PRIMARY KEY CONSTRAINT job_notes_job REFERENCES pgqueuer (id) ON DELETE CASCADE,
    done bigint CONSTRAINT job_notes_done_check CHECK (done >= 0),
    total bigint CONSTRAINT job_notes_total_check CHECK (total >= 0),
    unit text,
    progressed_at timestamptz,
    error_code text,
    error_message text,
    failed_at timestamptz
);

-- What was given up is listed in the order of its ids, however much is queued.
CREATE INDEX pgqueuer_dead_idx ON pgqueuer (id) WHERE status = 'failed';

-- Who does the jobs. The id is that under which PgQueuer has a worker's jobs.
CREATE TABLE workers (
    id uuid PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    kinds text[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- A job that is taken over from a worker that fell silent was tried once more. PgQueuer does not count that, and a job
-- of which workers die would come back for ever.
CREATE FUNCTION count_take_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.attempts := OLD.attempts + 1;
    RETURN NEW;
END;
$$;

CREATE TRIGGER pgqueuer_take_over BEFORE UPDATE ON pgqueuer FOR EACH ROW
WHEN (OLD.status = 'picked' AND NEW.status = 'picked' AND NEW.updated <> OLD.updated)
EXECUTE FUNCTION count_take_over();

-- migrate:down
DROP TRIGGER pgqueuer_take_over ON pgqueuer;
DROP FUNCTION count_take_over;
DROP TABLE workers;
DROP INDEX pgqueuer_dead_idx;
DROP TABLE job_notes;
