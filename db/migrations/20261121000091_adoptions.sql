-- migrate:up
CREATE TABLE adoptions (
    id         bigint      GENERATED ALWAYS AS IDENTITY,
    place      text        NOT NULL,
    below      text        NOT NULL,
    copying    boolean     NOT NULL,
    owner_id   text        NOT NULL,
    space_id   text        NOT NULL,
    tags       jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    listed_at  timestamptz,
    CONSTRAINT adoptions_pkey PRIMARY KEY (id),
    CONSTRAINT adoptions_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES principals,
    CONSTRAINT adoptions_space_id_fkey FOREIGN KEY (space_id) REFERENCES spaces,
    CONSTRAINT adoptions_tags_map CHECK (jsonb_typeof(tags) = 'object')
);
COMMENT ON TABLE adoptions IS 'Each time somebody wanted objects of the files in an external place.';
COMMENT ON COLUMN adoptions.copying IS 'whether their bytes are to be copied to the primary place';
COMMENT ON COLUMN adoptions.listed_at IS 'when all files had been found';

CREATE TABLE adopted_files (
    id        bigint  GENERATED ALWAYS AS IDENTITY,
    adoption  bigint  NOT NULL,
    place     text    NOT NULL,
    path      text    NOT NULL,
    size      bigint  NOT NULL,
    stamp     text    NOT NULL,
    state     text    NOT NULL DEFAULT 'found',
    copied    boolean NOT NULL DEFAULT false,
    digest    bytea,
    object_id text,
    problem   text,
    CONSTRAINT adopted_files_pkey PRIMARY KEY (id),
    CONSTRAINT adopted_files_adoption_fkey FOREIGN KEY (adoption) REFERENCES adoptions,
    CONSTRAINT adopted_files_state_known CHECK (state IN ('found', 'adopted', 'failed')),
    CONSTRAINT adopted_files_problem_of_failed CHECK ((problem IS NOT NULL) = (state = 'failed')),
    CONSTRAINT adopted_files_adopted_as CHECK (state <> 'adopted' OR (digest IS NOT NULL AND object_id IS NOT NULL))
);
COMMENT ON TABLE adopted_files IS 'Files in external places, and the objects that were made of them.';
COMMENT ON COLUMN adopted_files.state IS 'found: a job is queued that adopts it';
COMMENT ON COLUMN adopted_files.object_id IS 'the last object that was made of it; it may have been deleted since';

-- A path may be too long for an index.
CREATE UNIQUE INDEX adopted_files_path_unique ON adopted_files (place, md5(path));
CREATE INDEX adopted_files_open_idx ON adopted_files (place, state, id) WHERE state <> 'adopted';
CREATE INDEX adopted_files_digest_idx ON adopted_files (digest, place) WHERE digest IS NOT NULL;

-- migrate:down
DROP TABLE adopted_files;
DROP TABLE adoptions;
