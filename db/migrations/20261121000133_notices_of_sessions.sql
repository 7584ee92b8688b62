-- migrate:up
-- Nodes know who may drive a session, and where its tunnel is: 'session <id>' on the channel object_changes says that
-- it is otherwise now. That it was merely active is no news.
CREATE FUNCTION notify_session_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'session ' || NEW.id);
    RETURN NULL;
END $$;
CREATE FUNCTION notify_session_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'session ' || id)
    FROM unnest(ARRAY[OLD.session_id, NEW.session_id]) AS id WHERE id IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER sessions_changed AFTER UPDATE ON sessions FOR EACH ROW
    WHEN ((OLD.state, OLD.epoch, OLD.node_id) IS DISTINCT FROM (NEW.state, NEW.epoch, NEW.node_id))
    EXECUTE FUNCTION notify_session_changed();
CREATE TRIGGER session_keys_changed AFTER INSERT OR UPDATE OR DELETE ON session_keys
    FOR EACH ROW EXECUTE FUNCTION notify_session_keys_changed();

-- migrate:down
DROP TRIGGER session_keys_changed ON session_keys;
DROP TRIGGER sessions_changed ON sessions;
DROP FUNCTION notify_session_keys_changed();
DROP FUNCTION notify_session_changed();
