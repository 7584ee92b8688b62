-- migrate:up
-- How many objects there are and how many bytes are kept, without counting them: every change adds a row here, and a
-- job folds the rows into one from time to time. One row that everybody updated would make uploads wait for each other.
CREATE TABLE total_changes (
    id      bigint GENERATED ALWAYS AS IDENTITY,
    objects bigint NOT NULL DEFAULT 0,
    bytes   bigint NOT NULL DEFAULT 0,
    CONSTRAINT total_changes_pkey PRIMARY KEY (id)
);
COMMENT ON COLUMN total_changes.bytes IS 'of blobs, each counted once';

CREATE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (objects)
    SELECT CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (bytes)
    SELECT CASE TG_OP WHEN 'INSERT' THEN sum(size) ELSE -sum(size) END FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE TRIGGER objects_inserted AFTER INSERT ON objects REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_objects();
CREATE TRIGGER objects_deleted AFTER DELETE ON objects REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_objects();
CREATE TRIGGER blobs_inserted AFTER INSERT ON blobs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_bytes();
CREATE TRIGGER blobs_deleted AFTER DELETE ON blobs REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION count_bytes();

INSERT INTO total_changes (objects, bytes)
SELECT (SELECT count(*) FROM objects), (SELECT coalesce(sum(size), 0) FROM blobs);

-- migrate:down
DROP TRIGGER blobs_deleted ON blobs;
DROP TRIGGER blobs_inserted ON blobs;
DROP TRIGGER objects_deleted ON objects;
DROP TRIGGER objects_inserted ON objects;
DROP FUNCTION count_bytes();
DROP FUNCTION count_objects();
DROP TABLE total_changes;
