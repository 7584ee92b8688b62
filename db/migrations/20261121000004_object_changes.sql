-- migrate:up
-- Nodes keep rendered objects in memory. Whatever changes what they have rendered says so on the channel
-- object_changes: 'object <id>' or 'blob <digest in hex>'. New rows need no word: nothing absent is kept.
CREATE FUNCTION notify_object_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'object ' || OLD.id);
    RETURN NULL;
END $$;

CREATE FUNCTION notify_alias_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An update may move an alias: both objects have changed.
    PERFORM pg_notify('object_changes', 'object ' || id)
    FROM unnest(ARRAY[OLD.object_id, NEW.object_id]) AS id WHERE id IS NOT NULL;
    RETURN NULL;
END $$;

CREATE FUNCTION notify_checksum_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'blob ' || encode(digest, 'hex'))
    FROM unnest(ARRAY[OLD.digest, NEW.digest]) AS digest WHERE digest IS NOT NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER objects_changed AFTER UPDATE OR DELETE ON objects
    FOR EACH ROW EXECUTE FUNCTION notify_object_changed();
CREATE TRIGGER aliases_changed AFTER INSERT OR UPDATE OR DELETE ON aliases
    FOR EACH ROW EXECUTE FUNCTION notify_alias_changed();
CREATE TRIGGER checksums_changed AFTER INSERT OR UPDATE OR DELETE ON checksums
    FOR EACH ROW EXECUTE FUNCTION notify_checksum_changed();

-- migrate:down
DROP TRIGGER checksums_changed ON checksums;
DROP TRIGGER aliases_changed ON aliases;
DROP TRIGGER objects_changed ON objects;
DROP FUNCTION notify_checksum_changed();
DROP FUNCTION notify_alias_changed();
DROP FUNCTION notify_object_changed();
