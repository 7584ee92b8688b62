-- migrate:up
-- Blobs that were let go of, by an object or by an upload: the sweep looks whether anything else refers to them.
CREATE TABLE releases (
    digest      bytea       NOT NULL,
    released_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT releases_pkey PRIMARY KEY (digest),
    CONSTRAINT releases_digest_fkey FOREIGN KEY (digest) REFERENCES blobs ON DELETE CASCADE
);
CREATE INDEX releases_released_at_idx ON releases (released_at);

CREATE FUNCTION note_release() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO releases (digest) VALUES (OLD.digest)
    ON CONFLICT ON CONSTRAINT releases_pkey DO UPDATE SET released_at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER objects_released_by_update AFTER UPDATE OF digest ON objects
    FOR EACH ROW WHEN (OLD.digest IS DISTINCT FROM NEW.digest AND OLD.digest IS NOT NULL)
    EXECUTE FUNCTION note_release();
CREATE TRIGGER objects_released_by_delete AFTER DELETE ON objects
    FOR EACH ROW WHEN (OLD.digest IS NOT NULL) EXECUTE FUNCTION note_release();
CREATE TRIGGER uploads_released AFTER DELETE ON uploads
    FOR EACH ROW WHEN (OLD.digest IS NOT NULL) EXECUTE FUNCTION note_release();

-- migrate:down
DROP TRIGGER uploads_released ON uploads;
DROP TRIGGER objects_released_by_delete ON objects;
DROP TRIGGER objects_released_by_update ON objects;
DROP FUNCTION note_release();
DROP TABLE releases;
