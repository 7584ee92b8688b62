-- migrate:up
-- An upload may come by and by: `received` bytes of it wait in the store under `handle`, safe for any node to go on with.
ALTER TABLE uploads
    ALTER COLUMN size DROP NOT NULL,
    ADD COLUMN purpose text NOT NULL DEFAULT 'announced',
    ADD COLUMN received bigint NOT NULL DEFAULT 0,
    ADD COLUMN handle text,
    ADD COLUMN tags jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN parts text[],
    ADD COLUMN object_id text,
    ADD CONSTRAINT uploads_purpose_known CHECK (purpose IN ('announced', 'object', 'part')),
    DROP CONSTRAINT uploads_size_not_negative,
    ADD CONSTRAINT uploads_received_within CHECK (received >= 0 AND received <= size),
    ADD CONSTRAINT uploads_tags_map CHECK (jsonb_typeof(tags) = 'object'),
    ADD CONSTRAINT uploads_announced_with_size CHECK (purpose <> 'announced' OR size IS NOT NULL),
    ADD CONSTRAINT uploads_object_of_objects CHECK (object_id IS NULL OR purpose = 'object');
COMMENT ON TABLE uploads IS 'Bytes on their way: announced to be registered, or coming by and by to be an object or a part of one.';
COMMENT ON COLUMN uploads.size IS 'bytes; null while the sender does not know';
COMMENT ON COLUMN uploads.object_id IS 'what became of it; no foreign key, for the object may go first';

CREATE INDEX uploads_handle_idx ON uploads (handle) WHERE handle IS NOT NULL;
CREATE INDEX uploads_parts_idx ON uploads USING hash (parts) WHERE parts IS NOT NULL;

-- migrate:down
DROP INDEX uploads_parts_idx;
DROP INDEX uploads_handle_idx;
DELETE FROM uploads WHERE size IS NULL OR purpose <> 'announced';
ALTER TABLE uploads
    DROP COLUMN object_id,
    DROP COLUMN parts,
    DROP COLUMN tags,
    DROP COLUMN handle,
    DROP COLUMN received,
    DROP COLUMN purpose,
    ALTER COLUMN size SET NOT NULL,
    ADD CONSTRAINT uploads_size_not_negative CHECK (size >= 0);
COMMENT ON TABLE uploads IS 'Bytes that were announced, and may have come; registering makes an object of them.';
