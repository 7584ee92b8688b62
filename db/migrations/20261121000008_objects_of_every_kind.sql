-- migrate:up
-- An object is a blob of ours, a bundle of members, or something external that lies where its access methods say. A
-- deleted one stays as a tombstone, which lets go of its blob and remembers the size. The size of a blob stands here as
-- well as there, so that reading an object does not touch the table of blobs.
ALTER TABLE objects
    ADD COLUMN kind text NOT NULL DEFAULT 'blob',
    ALTER COLUMN digest DROP NOT NULL,
    ALTER COLUMN media_type DROP NOT NULL,
    ADD COLUMN size bigint,
    ADD COLUMN entries integer,
    ADD COLUMN access_methods jsonb,
    ADD COLUMN verifying boolean NOT NULL DEFAULT false,
    ADD COLUMN deleted_time timestamptz,
    ADD COLUMN deleted_reason text,
    ADD CONSTRAINT objects_size_not_negative CHECK (size >= 0),
    ADD CONSTRAINT objects_kind_known CHECK (kind IN ('blob', 'bundle', 'external')),
    ADD CONSTRAINT objects_digest_of_blobs CHECK ((digest IS NOT NULL) = (kind = 'blob' AND deleted_time IS NULL)),
    ADD CONSTRAINT objects_entries_of_bundles CHECK (
        CASE WHEN kind = 'bundle' THEN entries IS NOT NULL AND entries >= 0 ELSE entries IS NULL END
    ),
    ADD CONSTRAINT objects_media_type_unless_bundle CHECK (kind = 'bundle' OR media_type IS NOT NULL),
    ADD CONSTRAINT objects_access_methods_list CHECK (jsonb_typeof(access_methods) = 'array'),
    ADD CONSTRAINT objects_external_access CHECK (kind <> 'external' OR access_methods IS NOT NULL),
    ADD CONSTRAINT objects_verifying_external CHECK (NOT verifying OR kind = 'external'),
    ADD CONSTRAINT objects_deleted_reason_length
        CHECK (deleted_reason IS NULL OR (deleted_time IS NOT NULL AND char_length(deleted_reason) BETWEEN 1 AND 1024)),
    ADD CONSTRAINT objects_description_length CHECK (char_length(description) BETWEEN 1 AND 8192),
    ADD CONSTRAINT objects_version_length CHECK (char_length(version) BETWEEN 1 AND 255);
COMMENT ON TABLE objects IS 'A DRS object: a name for a blob, for a bundle of members, or for something external.';
COMMENT ON COLUMN objects.size IS 'bytes';
UPDATE objects SET size = blobs.size FROM blobs WHERE blobs.digest = objects.digest;
ALTER TABLE objects ALTER COLUMN size SET NOT NULL;
COMMENT ON COLUMN objects.entries IS 'of a bundle: its members and theirs, all the way down';
COMMENT ON COLUMN objects.access_methods IS 'ways to the bytes that are not ours';
COMMENT ON COLUMN objects.verifying IS 'a job still has to see that the external bytes are as stated';

-- Listings go through the objects of a space by their ids.
CREATE INDEX objects_listed_idx ON objects (space_id, id) WHERE deleted_time IS NULL;

-- Tombstones do not count.
CREATE OR REPLACE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (objects)
    SELECT CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed WHERE deleted_time IS NULL HAVING count(*) > 0;
    RETURN NULL;
END $$;

CREATE FUNCTION count_objects_buried() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (objects)
    SELECT alive FROM (
        SELECT (SELECT count(*) FROM after WHERE deleted_time IS NULL)
             - (SELECT count(*) FROM before WHERE deleted_time IS NULL) AS alive
    ) AS difference WHERE alive <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER objects_buried AFTER UPDATE ON objects REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_objects_buried();

-- migrate:down
DROP TRIGGER objects_buried ON objects;
DROP FUNCTION count_objects_buried();
CREATE OR REPLACE FUNCTION count_objects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (objects)
    SELECT CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;
DELETE FROM objects WHERE digest IS NULL;
DROP INDEX objects_listed_idx;
ALTER TABLE objects
    DROP CONSTRAINT objects_version_length,
    DROP CONSTRAINT objects_description_length,
    DROP CONSTRAINT objects_deleted_reason_length,
    DROP CONSTRAINT objects_verifying_external,
    DROP CONSTRAINT objects_external_access,
    DROP CONSTRAINT objects_access_methods_list,
    DROP CONSTRAINT objects_media_type_unless_bundle,
    DROP CONSTRAINT objects_entries_of_bundles,
    DROP CONSTRAINT objects_digest_of_blobs,
    DROP CONSTRAINT objects_kind_known,
    DROP CONSTRAINT objects_size_not_negative,
    DROP COLUMN deleted_reason,
    DROP COLUMN deleted_time,
    DROP COLUMN verifying,
    DROP COLUMN access_methods,
    DROP COLUMN entries,
    DROP COLUMN size,
    ALTER COLUMN media_type SET NOT NULL,
    ALTER COLUMN digest SET NOT NULL,
    DROP COLUMN kind;
COMMENT ON TABLE objects IS 'A DRS object: a name for a blob.';
