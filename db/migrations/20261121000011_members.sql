-- migrate:up
CREATE TABLE members (
    bundle_id text    NOT NULL,
    position  integer NOT NULL,
    name      text    NOT NULL,
    member_id text,
    drs_uris  text[]  NOT NULL DEFAULT '{}',
    CONSTRAINT members_pkey PRIMARY KEY (bundle_id, position),
    CONSTRAINT members_name_unique UNIQUE (bundle_id, name),
    CONSTRAINT members_bundle_id_fkey FOREIGN KEY (bundle_id) REFERENCES objects ON DELETE CASCADE,
    CONSTRAINT members_position_not_negative CHECK (position >= 0),
    CONSTRAINT members_name_portable
        CHECK (name ~ '^[A-Za-z0-9._][A-Za-z0-9._-]{0,254}$' AND name NOT IN ('.', '..')),
    CONSTRAINT members_here_or_elsewhere CHECK (member_id IS NOT NULL OR cardinality(drs_uris) > 0),
    CONSTRAINT members_not_itself CHECK (member_id <> bundle_id)
);
COMMENT ON TABLE members IS 'What a bundle holds. It is written with the bundle and never changes.';
COMMENT ON COLUMN members.member_id IS
    'no foreign key: a bundle still names a member that was deleted for good, for its member set never changes';
COMMENT ON COLUMN members.drs_uris IS 'where a member is that is not ours';

-- migrate:down
DROP TABLE members;
