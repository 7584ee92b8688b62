-- migrate:up
-- Each copy is looked up by itself: for many at once PostgreSQL would read all copies, for as long as it takes the table
-- for a small one.
CREATE OR REPLACE FUNCTION notify_replicas_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT digest, place FROM changed LOOP
        IF EXISTS (SELECT FROM replicas WHERE digest = one.digest AND place <> one.place) THEN
            PERFORM pg_notify('object_changes', 'blob ' || encode(one.digest, 'hex'));
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- migrate:down
CREATE OR REPLACE FUNCTION notify_replicas_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('object_changes', 'blob ' || encode(changed.digest, 'hex')) FROM changed
    WHERE EXISTS (SELECT FROM replicas WHERE digest = changed.digest AND place <> changed.place);
    RETURN NULL;
END $$;
