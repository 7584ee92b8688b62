-- migrate:up
-- A copy in an archive of its storage is not read before it was brought back.
ALTER TABLE replicas
    ADD COLUMN archived_at timestamptz,
    ADD COLUMN restored_until timestamptz,
    ADD CONSTRAINT replicas_archived_or_restored CHECK (archived_at IS NULL OR restored_until IS NULL);
COMMENT ON COLUMN replicas.archived_at IS 'since when it is known to lie in an archive; null if it can be read at once';
COMMENT ON COLUMN replicas.restored_until IS 'when it goes into the archive again, after it was brought back for a while';

CREATE INDEX replicas_restored_idx ON replicas (restored_until) WHERE restored_until IS NOT NULL;

CREATE TRIGGER replicas_archived AFTER UPDATE OF archived_at ON replicas
    FOR EACH ROW WHEN ((OLD.archived_at IS NULL) <> (NEW.archived_at IS NULL)) EXECUTE FUNCTION notify_replica_changed();

-- migrate:down
DROP TRIGGER replicas_archived ON replicas;
DROP INDEX replicas_restored_idx;
ALTER TABLE replicas DROP COLUMN restored_until, DROP COLUMN archived_at;
