-- migrate:up
CREATE TABLE tags (
    object_id text NOT NULL,
    key       text NOT NULL,
    value     text NOT NULL,
    CONSTRAINT tags_pkey PRIMARY KEY (object_id, key),
    CONSTRAINT tags_object_id_fkey FOREIGN KEY (object_id) REFERENCES objects ON DELETE CASCADE,
    CONSTRAINT tags_key_length CHECK (char_length(key) BETWEEN 1 AND 255),
    CONSTRAINT tags_value_length CHECK (char_length(value) <= 1024)
);
COMMENT ON TABLE tags IS 'Keys and values that their users give to objects, to find them by.';

-- Listings go through the objects with a tag by their ids. A value of 1024 characters would not fit an index as it is.
CREATE INDEX tags_key_value_idx ON tags (key, md5(value), object_id);
CREATE INDEX tags_key_idx ON tags (key, object_id);

CREATE TRIGGER tags_changed AFTER INSERT OR UPDATE OR DELETE ON tags
    FOR EACH ROW EXECUTE FUNCTION notify_part_changed();

-- migrate:down
DROP TABLE tags;
