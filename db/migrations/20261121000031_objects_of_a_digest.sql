-- migrate:up
-- A lookup by checksum goes through the objects of a digest by their ids: of the empty file there may be very many.
DROP INDEX objects_digest_idx;
CREATE INDEX objects_digest_idx ON objects (digest, id);

-- migrate:down
DROP INDEX objects_digest_idx;
CREATE INDEX objects_digest_idx ON objects (digest);
