-- migrate:up
-- Bytes that go past the service are not seen to come: those that somebody was let to bring are taken to be there.
ALTER TABLE uploads ADD COLUMN signed int8multirange NOT NULL DEFAULT '{}';
COMMENT ON COLUMN uploads.signed IS 'bytes that may have been brought past the service, for URLs were signed for them';

CREATE FUNCTION bytes_staged(received bigint, signed int8multirange) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(received, (SELECT sum(upper(one) - lower(one)) FROM unnest(signed) AS one)::bigint)
$$;
COMMENT ON FUNCTION bytes_staged IS 'how many bytes of an upload there are, or may be';

CREATE OR REPLACE FUNCTION hold_uploads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id,
        CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END * sum(bytes_staged(received, signed)),
        CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed WHERE object_id IS NULL GROUP BY owner_id, space_id;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION hold_uploads_otherwise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id, sum(more), sum(one) FROM (
        SELECT owner_id, space_id, bytes_staged(received, signed) AS more, 1 AS one FROM after WHERE object_id IS NULL
        UNION ALL SELECT owner_id, space_id, -bytes_staged(received, signed), -1 FROM before WHERE object_id IS NULL
    ) AS difference GROUP BY owner_id, space_id HAVING sum(more) <> 0 OR sum(one) <> 0;
    RETURN NULL;
END $$;

-- migrate:down
UPDATE uploads SET signed = '{}' WHERE signed <> '{}';

CREATE OR REPLACE FUNCTION hold_uploads() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id,
        CASE TG_OP WHEN 'INSERT' THEN sum(received) ELSE -sum(received) END,
        CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed WHERE object_id IS NULL GROUP BY owner_id, space_id;
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION hold_uploads_otherwise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_changes (owner_id, space_id, staged, uploads)
    SELECT owner_id, space_id, sum(more), sum(one) FROM (
        SELECT owner_id, space_id, received AS more, 1 AS one FROM after WHERE object_id IS NULL
        UNION ALL SELECT owner_id, space_id, -received, -1 FROM before WHERE object_id IS NULL
    ) AS difference GROUP BY owner_id, space_id HAVING sum(more) <> 0 OR sum(one) <> 0;
    RETURN NULL;
END $$;

DROP FUNCTION bytes_staged;
ALTER TABLE uploads DROP COLUMN signed;
