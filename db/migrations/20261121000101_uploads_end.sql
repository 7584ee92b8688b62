-- migrate:up
ALTER TABLE uploads ADD COLUMN ends_by_size boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN uploads.ends_by_size IS 'whether it is whole once all bytes have come; otherwise once its sender says so';

-- migrate:down
ALTER TABLE uploads DROP COLUMN ends_by_size;
