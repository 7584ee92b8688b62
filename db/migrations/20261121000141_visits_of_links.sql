-- migrate:up
-- Who only looks where a link leads gets a cookie as well. The one that is shown first uses the link up.
ALTER TABLE session_keys
    ADD COLUMN link bytea,
    DROP CONSTRAINT session_keys_kind_known,
    ADD CONSTRAINT session_keys_kind_known CHECK (kind IN ('driving', 'cookie', 'link', 'visit', 'join', 'agent')),
    ADD CONSTRAINT session_keys_link_of_visits CHECK ((link IS NOT NULL) = (kind = 'visit')),
    ADD CONSTRAINT session_keys_link_fkey FOREIGN KEY (link) REFERENCES session_keys ON DELETE CASCADE;
COMMENT ON COLUMN session_keys.kind IS 'driving and cookie drive it; visit is a cookie that nobody has shown; link makes visits, and join an agent';
COMMENT ON COLUMN session_keys.link IS 'by which the visit came';
CREATE INDEX session_keys_link_idx ON session_keys (link) WHERE link IS NOT NULL;

-- migrate:down
DELETE FROM session_keys WHERE kind = 'visit';
ALTER TABLE session_keys
    DROP CONSTRAINT session_keys_link_of_visits,
    DROP COLUMN link,
    DROP CONSTRAINT session_keys_kind_known,
    ADD CONSTRAINT session_keys_kind_known CHECK (kind IN ('driving', 'cookie', 'link', 'join', 'agent'));
COMMENT ON COLUMN session_keys.kind IS 'driving and cookie drive it; link makes a cookie, and join an agent, once each';
