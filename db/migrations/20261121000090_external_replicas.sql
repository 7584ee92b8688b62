-- migrate:up
-- A copy may be a file of somebody else, in a place that is only read. Whoever has read it last has left its stamp.
ALTER TABLE replicas
    ADD COLUMN stamp text,
    ADD CONSTRAINT replicas_stamp_not_empty CHECK (stamp <> '');
COMMENT ON COLUMN replicas.stamp IS 'of an external file: what changes with its bytes; nothing of a file of ours';

-- What such a file had before, it has no more: only one good copy is said to be there. Its path may be too long for an
-- index.
ALTER TABLE replicas DROP CONSTRAINT replicas_place_key_unique;
CREATE UNIQUE INDEX replicas_good_key_unique ON replicas (place, md5(key)) WHERE damaged_at IS NULL;

-- migrate:down
DO $$
BEGIN
    IF EXISTS (SELECT FROM replicas WHERE stamp IS NOT NULL) THEN
        RAISE EXCEPTION 'there are copies in external places, which the schema before this one cannot tell: '
            'empty these first, with drs-service places drain NAME';
    END IF;
END $$;
DROP INDEX replicas_good_key_unique;
ALTER TABLE replicas
    DROP COLUMN stamp,
    ADD CONSTRAINT replicas_place_key_unique UNIQUE (place, key);
