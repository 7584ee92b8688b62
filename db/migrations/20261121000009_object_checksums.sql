-- migrate:up
CREATE TABLE object_checksums (
    object_id text NOT NULL,
    algorithm text NOT NULL,
    value     text NOT NULL,
    CONSTRAINT object_checksums_pkey PRIMARY KEY (object_id, algorithm),
    CONSTRAINT object_checksums_object_id_fkey FOREIGN KEY (object_id) REFERENCES objects ON DELETE CASCADE,
    CONSTRAINT object_checksums_algorithm_shape CHECK (algorithm ~ '^[a-z0-9][a-z0-9/_-]{0,63}$'),
    CONSTRAINT object_checksums_value_shape CHECK (value ~ '^[!-~]{1,255}$')
);
COMMENT ON TABLE object_checksums IS
    'What was stated of an object, or worked out from its members; the table checksums has what was read from bytes.';

-- Who has this checksum?
CREATE INDEX object_checksums_value_idx ON object_checksums (value, object_id);
CREATE INDEX checksums_value_idx ON checksums (value);

-- What it does for aliases it does for every table with an object_id.
ALTER FUNCTION notify_alias_changed() RENAME TO notify_part_changed;
CREATE TRIGGER object_checksums_changed AFTER INSERT OR UPDATE OR DELETE ON object_checksums
    FOR EACH ROW EXECUTE FUNCTION notify_part_changed();

-- migrate:down
DROP TABLE object_checksums;
ALTER FUNCTION notify_part_changed() RENAME TO notify_alias_changed;
DROP INDEX checksums_value_idx;
