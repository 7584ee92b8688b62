-- migrate:up
-- Two that let go of the same blobs at once wait for each other's rows of releases: in one order, or they lock each
-- other out. So a statement notes all of its releases together.
DROP TRIGGER uploads_released ON uploads;
DROP TRIGGER objects_released_by_delete ON objects;
DROP TRIGGER objects_released_by_update ON objects;
DROP FUNCTION note_release();

CREATE FUNCTION note_deletions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO releases (digest)
    SELECT DISTINCT digest FROM before WHERE digest IS NOT NULL ORDER BY digest
    ON CONFLICT ON CONSTRAINT releases_pkey DO UPDATE SET released_at = now();
    RETURN NULL;
END $$;
CREATE FUNCTION note_updates() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO releases (digest)
    SELECT DISTINCT before.digest FROM before JOIN after USING (id)
    WHERE before.digest IS NOT NULL AND before.digest IS DISTINCT FROM after.digest ORDER BY before.digest
    ON CONFLICT ON CONSTRAINT releases_pkey DO UPDATE SET released_at = now();
    RETURN NULL;
END $$;
CREATE TRIGGER objects_released_by_update AFTER UPDATE ON objects REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION note_updates();
CREATE TRIGGER objects_released_by_delete AFTER DELETE ON objects REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION note_deletions();
CREATE TRIGGER uploads_released AFTER DELETE ON uploads REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION note_deletions();

-- migrate:down
DROP TRIGGER uploads_released ON uploads;
DROP TRIGGER objects_released_by_delete ON objects;
DROP TRIGGER objects_released_by_update ON objects;
DROP FUNCTION note_updates();
DROP FUNCTION note_deletions();

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
