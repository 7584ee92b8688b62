-- migrate:up
ALTER TABLE uploads ADD COLUMN direct text;
COMMENT ON COLUMN uploads.direct IS 'what parts are brought to that go past the service, as the place calls it';

-- migrate:down
ALTER TABLE uploads DROP COLUMN direct;
