-- migrate:up
-- A copy that is known to be bad is not read, until it is made anew from another.
ALTER TABLE replicas
    ADD COLUMN verified_at timestamptz,
    ADD COLUMN damaged_at timestamptz,
    ADD COLUMN damage text,
    ADD CONSTRAINT replicas_damage_has_a_time CHECK ((damaged_at IS NULL) = (damage IS NULL));
COMMENT ON COLUMN replicas.verified_at IS 'when its bytes were last read and found to be right; before that, when they were written';
COMMENT ON COLUMN replicas.damaged_at IS 'since when it is known to be bad';
COMMENT ON COLUMN replicas.damage IS 'what is wrong with it';

CREATE INDEX replicas_damaged_idx ON replicas (place, digest) WHERE damaged_at IS NOT NULL;
CREATE INDEX replicas_due_idx ON replicas (place, coalesce(verified_at, created_at), digest);

-- Nodes keep in memory where the copies of an object are. A new blob needs no word: nothing absent is kept.
CREATE FUNCTION notify_replicas_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'blob ' || encode(changed.digest, 'hex')) FROM changed
    WHERE EXISTS (SELECT FROM replicas WHERE digest = changed.digest AND place <> changed.place);
    RETURN NULL;
END $$;
CREATE FUNCTION notify_replica_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- With its blob a copy goes unnoticed: no object has it any more.
    PERFORM pg_notify('object_changes', 'blob ' || encode(digest, 'hex')) FROM blobs WHERE digest = OLD.digest;
    RETURN NULL;
END $$;
CREATE TRIGGER replicas_inserted AFTER INSERT ON replicas REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION notify_replicas_inserted();
CREATE TRIGGER replicas_damaged AFTER UPDATE OF damaged_at ON replicas
    FOR EACH ROW WHEN (OLD.damaged_at IS DISTINCT FROM NEW.damaged_at) EXECUTE FUNCTION notify_replica_changed();
CREATE TRIGGER replicas_deleted AFTER DELETE ON replicas FOR EACH ROW EXECUTE FUNCTION notify_replica_changed();

-- migrate:down
DROP TRIGGER replicas_deleted ON replicas;
DROP TRIGGER replicas_damaged ON replicas;
DROP TRIGGER replicas_inserted ON replicas;
DROP FUNCTION notify_replica_changed();
DROP FUNCTION notify_replicas_inserted();
DROP INDEX replicas_due_idx;
DROP INDEX replicas_damaged_idx;
ALTER TABLE replicas DROP COLUMN damage, DROP COLUMN damaged_at, DROP COLUMN verified_at;
