-- migrate:up
ALTER TABLE uploads ADD COLUMN wanted text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN uploads.wanted IS 'algorithms of checksums that its sender wants besides, worked out as the bytes come';

-- migrate:down
ALTER TABLE uploads DROP COLUMN wanted;
