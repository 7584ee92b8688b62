-- migrate:up
-- What takes long when all bytes have come, reading or joining them again, is a worker's to do: the object gets its id
-- before. Where a place keeps nobody out, the row says who goes on with the upload.
ALTER TABLE uploads
    ADD COLUMN finishing boolean NOT NULL DEFAULT false,
    ADD COLUMN promised_id text,
    ADD COLUMN failed text,
    ADD COLUMN turn text,
    ADD CONSTRAINT uploads_promised_of_objects CHECK (promised_id IS NULL OR purpose = 'object'),
    ADD CONSTRAINT uploads_finishing_once CHECK (NOT finishing OR (object_id IS NULL AND digest IS NULL AND failed IS NULL));
COMMENT ON COLUMN uploads.finishing IS 'all bytes have come, and a worker reads them';
COMMENT ON COLUMN uploads.promised_id IS 'id of the object that it becomes';
COMMENT ON COLUMN uploads.failed IS 'why nothing can become of it';
COMMENT ON COLUMN uploads.turn IS 'who goes on with it: the number of a process, and a word of its own';

CREATE INDEX uploads_promised_idx ON uploads (promised_id) WHERE promised_id IS NOT NULL;

-- migrate:down
DROP INDEX uploads_promised_idx;
ALTER TABLE uploads
    DROP COLUMN turn,
    DROP COLUMN failed,
    DROP COLUMN promised_id,
    DROP COLUMN finishing;
