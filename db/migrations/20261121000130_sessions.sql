-- migrate:up
CREATE TABLE nodes (
    id         text        NOT NULL,
    address    text        NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT nodes_pkey PRIMARY KEY (id),
    CONSTRAINT nodes_address_length CHECK (char_length(address) BETWEEN 1 AND 255)
);
COMMENT ON TABLE nodes IS 'Web processes that hold tunnels. One that has not been seen for some seconds holds none.';
COMMENT ON COLUMN nodes.address IS 'host:port where other nodes reach it';

CREATE TABLE sessions (
    id           text        NOT NULL,
    number       bigint      GENERATED ALWAYS AS IDENTITY,
    owner_id     text        NOT NULL,
    space_id     text        NOT NULL,
    name         text,
    target       text,
    state        text        NOT NULL DEFAULT 'created',
    reason       text,
    epoch        bigint      NOT NULL DEFAULT 0,
    node_id      text,
    running      integer     NOT NULL DEFAULT 0,
    idle_seconds integer     NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    join_by      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    joined_at    timestamptz,
    active_at    timestamptz NOT NULL DEFAULT now(),
    state_at     timestamptz NOT NULL DEFAULT now(),
    tunnel_at    timestamptz,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES principals,
    CONSTRAINT sessions_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces,
    CONSTRAINT sessions_node_id_fkey FOREIGN KEY (node_id) REFERENCES nodes ON DELETE SET NULL,
    CONSTRAINT sessions_id_shape CHECK (id ~ '^[0-9a-z]{16}$'),
    CONSTRAINT sessions_state_known CHECK (state IN ('created', 'connected', 'idle', 'stopping', 'ended')),
    CONSTRAINT sessions_reason_known CHECK (reason IN ('stopped', 'expired', 'idle', 'never_joined', 'agent_left')),
    CONSTRAINT sessions_reason_of_ending CHECK ((reason IS NOT NULL) = (state IN ('stopping', 'ended'))),
    CONSTRAINT sessions_epoch_of_joined CHECK (epoch >= 0 AND (epoch > 0) = (joined_at IS NOT NULL)),
    CONSTRAINT sessions_node_of_live CHECK (node_id IS NULL OR (epoch > 0 AND state <> 'ended')),
    CONSTRAINT sessions_running_not_negative CHECK (running >= 0),
    CONSTRAINT sessions_idle_positive CHECK (idle_seconds > 0)
) WITH (fillfactor = 70);  -- room for what changes every few seconds, none of it indexed
COMMENT ON TABLE sessions IS 'Remote workspaces. The state machine is drawn in drs_service/domain/sessions.py.';
COMMENT ON COLUMN sessions.target IS 'what its owner says that the agent serves';
COMMENT ON COLUMN sessions.epoch IS 'how often an agent has attached its tunnel: what an earlier one holds is no tunnel any more';
COMMENT ON COLUMN sessions.node_id IS 'who holds the tunnel; null: nobody';
COMMENT ON COLUMN sessions.running IS 'work that the agent reports to be under way';
COMMENT ON COLUMN sessions.active_at IS 'when anything moved or was under way; idle time runs from here';
COMMENT ON COLUMN sessions.tunnel_at IS 'since when its tunnel is held as it is, or by nobody';

CREATE INDEX sessions_listed_idx ON sessions (owner_id, number);
CREATE INDEX sessions_live_idx ON sessions (owner_id) WHERE state <> 'ended';
CREATE INDEX sessions_node_id_idx ON sessions (node_id) WHERE node_id IS NOT NULL;
CREATE INDEX sessions_ended_idx ON sessions (state_at) WHERE state = 'ended';

-- migrate:down
DROP TABLE sessions;
DROP TABLE nodes;
