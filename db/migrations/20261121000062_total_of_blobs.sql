-- migrate:up
ALTER TABLE total_changes ADD COLUMN blobs bigint NOT NULL DEFAULT 0;
CREATE OR REPLACE FUNCTION count_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (bytes, blobs)
    SELECT CASE TG_OP WHEN 'INSERT' THEN sum(size) ELSE -sum(size) END,
        CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;
INSERT INTO total_changes (blobs) SELECT count(*) FROM blobs;

-- migrate:down
CREATE OR REPLACE FUNCTION count_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO total_changes (bytes)
    SELECT CASE TG_OP WHEN 'INSERT' THEN sum(size) ELSE -sum(size) END FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;
ALTER TABLE total_changes DROP COLUMN blobs;
