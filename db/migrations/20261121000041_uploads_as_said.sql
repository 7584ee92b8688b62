-- migrate:up
-- tus tells its clients again what they said, as they said it. What is joined of parts has an id that follows from
-- them, so nobody looks for it by its parts.
ALTER TABLE uploads
    ADD COLUMN metadata text,
    ADD COLUMN concat text;
COMMENT ON COLUMN uploads.metadata IS 'Upload-Metadata as it came';
COMMENT ON COLUMN uploads.concat IS 'Upload-Concat as it came';

DROP INDEX uploads_parts_idx;

-- migrate:down
CREATE INDEX uploads_parts_idx ON uploads USING hash (parts) WHERE parts IS NOT NULL;

ALTER TABLE uploads
    DROP COLUMN concat,
    DROP COLUMN metadata;
