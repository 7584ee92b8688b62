-- migrate:up
-- Times are the database's, and no statement that changes a session can forget them or its history.
CREATE TABLE session_history (
    number     bigint      GENERATED ALWAYS AS IDENTITY,
    session_id text        NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    before     text,
    after      text        NOT NULL,
    reason     text,
    CONSTRAINT session_history_pkey PRIMARY KEY (session_id, number),
    CONSTRAINT session_history_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE
);
COMMENT ON TABLE session_history IS 'What states a session has been in, also when it is over.';

CREATE FUNCTION time_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state THEN
        NEW.state_at := now();
    END IF;
    IF NEW.node_id IS DISTINCT FROM OLD.node_id OR NEW.epoch <> OLD.epoch THEN
        NEW.tunnel_at := now();
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION note_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO session_history (session_id, before, after, reason)
    VALUES (NEW.id, CASE TG_OP WHEN 'UPDATE' THEN OLD.state END, NEW.state, NEW.reason);
    RETURN NULL;
END $$;

CREATE TRIGGER sessions_timed BEFORE UPDATE ON sessions FOR EACH ROW
    WHEN ((OLD.state, OLD.epoch, OLD.node_id) IS DISTINCT FROM (NEW.state, NEW.epoch, NEW.node_id))
    EXECUTE FUNCTION time_session();
CREATE TRIGGER sessions_begun AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION note_session();
CREATE TRIGGER sessions_noted AFTER UPDATE ON sessions FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION note_session();

-- migrate:down
DROP TRIGGER sessions_noted ON sessions;
DROP TRIGGER sessions_begun ON sessions;
DROP TRIGGER sessions_timed ON sessions;
DROP FUNCTION note_session();
DROP FUNCTION time_session();
DROP TABLE session_history;
