-- migrate:up
-- How many bytes every owner holds in every space, and how many uploads are under way, without counting them: as in
-- total_changes every change adds a row, and rows are folded from time to time. So no upload waits for another's.
CREATE TABLE holding_changes (
    id       bigint GENERATED ALWAYS AS IDENTITY,
    owner_id text   NOT NULL,
    space_id text   NOT NULL,
    kept     bigint NOT NULL DEFAULT 0,
    staged   bigint NOT NULL DEFAULT 0,
    uploads  bigint NOT NULL DEFAULT 0,
    CONSTRAINT holding_changes_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE holding_changes IS 'What owners hold in spaces, as a sum of changes.';
COMMENT ON COLUMN holding_changes.kept IS 'bytes of objects that have a blob, each object on its own';
COMMENT ON COLUMN holding_changes.staged IS 'bytes that came of uploads which are no object yet';
COMMENT ON COLUMN holding_changes.uploads IS 'uploads which are no object yet';
CREATE INDEX holding_changes_owner_id_idx ON holding_changes (owner_id);
CREATE INDEX holding_changes_space_id_idx ON holding_changes (space_id);

-- An object that has no digest is a bundle, lies elsewhere, or is a tombstone: it holds nothing here.
CREATE FUNCTION hold_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, kept)
    SELECT owner_id, space_id, CASE TG_OP WHEN 'INSERT' THEN sum(size) ELSE -sum(size) END
    FROM changed WHERE digest IS NOT NULL GROUP BY owner_id, space_id HAVING sum(size) <> 0;
    RETURN NULL;
END $$;
CREATE FUNCTION hold_objects_otherwise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, kept)
    SELECT owner_id, space_id, sum(more) FROM (
        SELECT owner_id, space_id, size AS more FROM after WHERE digest IS NOT NULL
        UNION ALL SELECT owner_id, space_id, -size FROM before WHERE digest IS NOT NULL
    ) AS difference GROUP BY owner_id, space_id HAVING sum(more) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER objects_held AFTER INSERT ON objects REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hold_objects();
CREATE TRIGGER objects_held_no_more AFTER DELETE ON objects REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hold_objects();
CREATE TRIGGER objects_held_otherwise AFTER UPDATE ON objects REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION hold_objects_otherwise();

-- An upload that became an object holds nothing by itself.
CREATE FUNCTION hold_uploads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id,
        CASE TG_OP WHEN 'INSERT' THEN sum(received) ELSE -sum(received) END,
        CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed WHERE object_id IS NULL GROUP BY owner_id, space_id;
    RETURN NULL;
END $$;
CREATE FUNCTION hold_uploads_otherwise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id, sum(more), sum(one) FROM (
        SELECT owner_id, space_id, received AS more, 1 AS one FROM after WHERE object_id IS NULL
        UNION ALL SELECT owner_id, space_id, -received, -1 FROM before WHERE object_id IS NULL
    ) AS difference GROUP BY owner_id, space_id HAVING sum(more) <> 0 OR sum(one) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER uploads_held AFTER INSERT ON uploads REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hold_uploads();
CREATE TRIGGER uploads_held_no_more AFTER DELETE ON uploads REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION hold_uploads();
CREATE TRIGGER uploads_held_otherwise AFTER UPDATE ON uploads REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION hold_uploads_otherwise();

INSERT INTO holding_changes (owner_id, space_id, kept)
SELECT owner_id, space_id, sum(size) FROM objects WHERE digest IS NOT NULL GROUP BY owner_id, space_id;
INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
SELECT owner_id, space_id, sum(received), count(*) FROM uploads WHERE object_id IS NULL GROUP BY owner_id, space_id;

-- migrate:down
DROP TRIGGER uploads_held_otherwise ON uploads;
DROP TRIGGER uploads_held_no_more ON uploads;
DROP TRIGGER uploads_held ON uploads;
DROP FUNCTION hold_uploads_otherwise();
DROP FUNCTION hold_uploads();
DROP TRIGGER objects_held_otherwise ON objects;
DROP TRIGGER objects_held_no_more ON objects;
DROP TRIGGER objects_held ON objects;
DROP FUNCTION hold_objects_otherwise();
DROP FUNCTION hold_objects();
DROP TABLE holding_changes;
