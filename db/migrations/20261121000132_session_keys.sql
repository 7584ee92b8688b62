-- migrate:up
CREATE TABLE session_keys (
    hash       bytea       NOT NULL,
    session_id text        NOT NULL,
    kind       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    used_at    timestamptz,
    CONSTRAINT session_keys_pkey PRIMARY KEY (hash),
    CONSTRAINT session_keys_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE,
    CONSTRAINT session_keys_hash_length CHECK (octet_length(hash) = 32),
    CONSTRAINT session_keys_kind_known CHECK (kind IN ('driving', 'cookie', 'link', 'join', 'agent'))
);
COMMENT ON TABLE session_keys IS 'Secrets that open sessions, of which only the sha-256 is kept.';
COMMENT ON COLUMN session_keys.kind IS 'driving and cookie drive it; link makes a cookie, and join an agent, once each';
CREATE INDEX session_keys_session_id_idx ON session_keys (session_id, kind);

CREATE TABLE node_calls (
    hash       bytea       NOT NULL,
    to_node    text        NOT NULL,
    answer     text        NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT node_calls_pkey PRIMARY KEY (hash),
    CONSTRAINT node_calls_to_node_fkey FOREIGN KEY (to_node) REFERENCES nodes ON DELETE CASCADE,
    CONSTRAINT node_calls_hash_length CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE node_calls IS 'Nodes that are about to speak to each other: both show that they use this database.';
COMMENT ON COLUMN node_calls.hash IS 'sha-256 of what the caller says';
COMMENT ON COLUMN node_calls.answer IS 'what the one who is called says to that';
CREATE INDEX node_calls_to_node_idx ON node_calls (to_node);

-- migrate:down
DROP TABLE node_calls;
DROP TABLE session_keys;
