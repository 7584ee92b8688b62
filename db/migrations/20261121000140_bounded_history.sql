-- migrate:up
-- A session whose browser comes and goes changes its state for as long as it lives. How it began and how it is stay, and
-- its steps are numbered, so that those in between are missed.
ALTER TABLE session_history ALTER COLUMN number DROP IDENTITY, DROP CONSTRAINT session_history_pkey;
UPDATE session_history SET number = numbered.nth
FROM (
    SELECT session_id, number, row_number() OVER (PARTITION BY session_id ORDER BY number) AS nth FROM session_history
) AS numbered
WHERE (session_history.session_id, session_history.number) = (numbered.session_id, numbered.number);
DELETE FROM session_history USING (
    SELECT session_id, max(number) AS newest FROM session_history GROUP BY session_id
) AS whole
WHERE session_history.session_id = whole.session_id AND number > 10 AND number <= newest - 90;
ALTER TABLE session_history ADD CONSTRAINT session_history_pkey PRIMARY KEY (session_id, number);
COMMENT ON COLUMN session_history.number IS 'of the steps of its session, from 1: the first ten stay, and the newest ninety';

-- Whoever changes a session has its row to himself, so nobody else adds a step meanwhile.
CREATE OR REPLACE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this bigint := 1 + coalesce((SELECT max(number) FROM session_history WHERE session_id = NEW.id), 0);
BEGIN
    INSERT INTO session_history (session_id, number, before, after, reason)
    VALUES (NEW.id, this, CASE TG_OP WHEN 'UPDATE' THEN OLD.state END, NEW.state, NEW.reason);
    IF this > 100 THEN
        DELETE FROM session_history WHERE session_id = NEW.id AND number = this - 90;
    END IF;
    RETURN NULL;
END $$;

-- migrate:down
CREATE OR REPLACE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO session_history (session_id, before, after, reason)
    VALUES (NEW.id, CASE TG_OP WHEN 'UPDATE' THEN OLD.state END, NEW.state, NEW.reason);
    RETURN NULL;
END $$;
COMMENT ON COLUMN session_history.number IS NULL;
ALTER TABLE session_history ALTER COLUMN number ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('session_history', 'number'), 1 + coalesce(max(number), 0), false) FROM session_history;
