-- migrate:up
-- A place without files, such as S3, needs more than an offset to find again the bytes that wait in it. Who goes on with
-- an upload moves it from one mark (offset and notes) to the next, if nobody else has done so meanwhile.
ALTER TABLE uploads ADD COLUMN notes text NOT NULL DEFAULT '';
COMMENT ON COLUMN uploads.notes IS 'what the place that keeps the bytes needs to go on behind the first `received` of them';

-- migrate:down
ALTER TABLE uploads DROP COLUMN notes;
