-- migrate:up
-- An owner's unfinished uploads are listed page by page. The id of an upload is the right to it, so the order, which
-- page tokens tell, is that of a number which means nothing.
ALTER TABLE uploads ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
CREATE INDEX uploads_listed_idx ON uploads (owner_id, number) WHERE object_id IS NULL;

-- migrate:down
DROP INDEX uploads_listed_idx;
ALTER TABLE uploads DROP COLUMN number;
