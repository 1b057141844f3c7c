-- Documents, their chunks, the text index and embeddings. Every key begins with owner_id: an owner's rows lie together, nothing is
-- looked up by a bare id, and every table can be distributed by owner as it stands. Identifiers compare byte by byte (collation C),
-- so an order never depends on the server's locale.

-- One row per owner: what the text index needs to know about the owner as a whole. Its row lock is the owner's write lock.
-- The row is written with every change, hence the room for updates in place.
CREATE TABLE {{tables.document_owners}} (
    owner_id     text COLLATE "C" PRIMARY KEY,
    documents    bigint  NOT NULL DEFAULT 0,
    leaves       bigint  NOT NULL DEFAULT 0,
    length       bigint  NOT NULL DEFAULT 0,
    next_ordinal bigint  NOT NULL DEFAULT 0,
    next_segment bigint  NOT NULL DEFAULT 1,
    merge_due    boolean NOT NULL DEFAULT false,
    analysis     integer NOT NULL,
    languages    jsonb   NOT NULL DEFAULT '{}'
) WITH (fillfactor = 40);
CREATE INDEX document_owners_merge_due ON {{tables.document_owners}} (owner_id) WHERE merge_due;

CREATE TABLE {{tables.documents}} (
    owner_id      text COLLATE "C" NOT NULL,
    document_id   uuid        NOT NULL,
    id_at_origin  text COLLATE "C" NOT NULL,
    document_key  text COLLATE "C" NOT NULL,
    document_name text COLLATE "C" NOT NULL,
    document_type text COLLATE "C" NOT NULL,
    document_date timestamptz,
    metadata      jsonb       NOT NULL,
    language      text COLLATE "C" NOT NULL,
    content_hash  bytea       NOT NULL,
    bytes         bigint      NOT NULL,
    tokens        bigint      NOT NULL,
    leaves        integer     NOT NULL,
    tail          text        NOT NULL, -- white space after the last leaf
    version       bigint      NOT NULL,
    no_vectors    boolean     NOT NULL DEFAULT false, -- its leaves are not to be embedded
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (owner_id, document_id),
    UNIQUE (owner_id, id_at_origin, document_key)
);
CREATE INDEX documents_created ON {{tables.documents}} (owner_id, created_at, document_id);
CREATE INDEX documents_date ON {{tables.documents}} (owner_id, document_date) WHERE document_date IS NOT NULL;
CREATE INDEX documents_metadata ON {{tables.documents}} USING gin (metadata jsonb_path_ops);

-- Leaves (level 0) hold the text: lead || content of all leaves in order, then the document's tail, is the document's text.
-- Parents (level 1) are ranges over leaves.
CREATE TABLE {{tables.document_chunks}} (
    owner_id    text COLLATE "C" NOT NULL,
    chunk_id    uuid     NOT NULL,
    document_id uuid     NOT NULL,
    parent_id   uuid,
    level       smallint NOT NULL,
    position    integer  NOT NULL,
    start_byte  bigint   NOT NULL,
    end_byte    bigint   NOT NULL,
    tokens      integer  NOT NULL,
    ordinal     bigint,           -- leaves: the number the text index knows them by
    length      integer  NOT NULL, -- leaves: indexed terms
    input_hash  bytea,            -- leaves: of what is searched, text and context
    heading     text     NOT NULL,
    lead        text     NOT NULL,
    content     text     NOT NULL,
    PRIMARY KEY (owner_id, chunk_id),
    FOREIGN KEY (owner_id, document_id) REFERENCES {{tables.documents}} (owner_id, document_id) ON DELETE CASCADE
);
CREATE INDEX document_chunks_position ON {{tables.document_chunks}} (owner_id, document_id, level, position);
CREATE UNIQUE INDEX document_chunks_ordinal ON {{tables.document_chunks}} (owner_id, ordinal) WHERE ordinal IS NOT NULL;

-- A segment is a piece of an owner's text index over the ordinals [low, high). Its pages hold what it knows of the terms from
-- first_term up to the next page: packed bytes, which the server need not try to compress.
CREATE TABLE {{tables.text_segments}} (
    owner_id   text COLLATE "C" NOT NULL,
    segment_id bigint  NOT NULL,
    low        bigint  NOT NULL,
    high       bigint  NOT NULL,
    leaves     integer NOT NULL,
    bytes      bigint  NOT NULL,
    dead_count integer NOT NULL DEFAULT 0,
    dead       bytea,
    PRIMARY KEY (owner_id, segment_id)
);
ALTER TABLE {{tables.text_segments}} ALTER COLUMN dead SET STORAGE EXTERNAL;

CREATE TABLE {{tables.text_postings}} (
    owner_id   text COLLATE "C" NOT NULL,
    segment_id bigint NOT NULL,
    first_term text COLLATE "C" NOT NULL,
    postings   bytea  NOT NULL,
    positions  bytea  NOT NULL,
    PRIMARY KEY (owner_id, segment_id, first_term)
);
ALTER TABLE {{tables.text_postings}} ALTER COLUMN postings SET STORAGE EXTERNAL, ALTER COLUMN positions SET STORAGE EXTERNAL;

-- Embeddings: generations of vectors, the queue of leaves that wait for one, and the indexes of large owners. The vectors lie in
-- one table per generation, embeddings_ID, which is made with the generation: its type depends on the model. Nothing here needs
-- the extension, so a schema without it serves text.

-- An owner that the statistics do not know yet is thought to have one row, and any index that begins with the owner would find it
-- as well as the right one. Without statistics, an owner is thought to have one row in two hundred, whoever it is.
ALTER TABLE {{tables.documents}} ALTER COLUMN owner_id SET STATISTICS 0;
ALTER TABLE {{tables.document_chunks}} ALTER COLUMN owner_id SET STATISTICS 0;

-- The only table without an owner: a generation is one for all. Ids are never used again, so whoever speaks of a generation that
-- was retired meanwhile finds nothing, and not another one.
CREATE TABLE {{tables.embedding_generations}} (
    generation       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity         text COLLATE "C" NOT NULL, -- of the model, see embedding.ModelInfo
    profile          text COLLATE "C" NOT NULL,
    provider         text             NOT NULL,
    model            text             NOT NULL,
    dimensions       integer          NOT NULL,
    normalized       boolean          NOT NULL,
    query_prefix     text             NOT NULL,
    passage_prefix   text             NOT NULL,
    max_tokens       integer          NOT NULL,
    price            double precision NOT NULL, -- US dollars for a million tokens
    state            text COLLATE "C" NOT NULL, -- building, active, standby, or retired while its rows are being removed
    backfilled       boolean          NOT NULL,
    backfill_after   text[],                    -- transactions that may not know of it and must end first; null: not looked at yet
    backfill_owner   text COLLATE "C" NOT NULL DEFAULT '', -- leaves up to here are queued
    backfill_ordinal bigint           NOT NULL DEFAULT -1,
    created_at       timestamptz      NOT NULL DEFAULT now(),
    activated_at     timestamptz
);
CREATE UNIQUE INDEX embedding_generations_model ON {{tables.embedding_generations}} (identity, profile) WHERE state <> 'retired';
CREATE UNIQUE INDEX embedding_generations_active ON {{tables.embedding_generations}} (state) WHERE state = 'active';

-- A leaf that waits for a vector. Whoever takes the row away under its lock may put the vector in its place: nobody else may, so
-- a vector never comes too late.
CREATE TABLE {{tables.embedding_queue}} (
    owner_id    text COLLATE "C" NOT NULL,
    generation  bigint      NOT NULL,
    ordinal     bigint      NOT NULL,
    attempts    integer     NOT NULL DEFAULT 0,
    dead        boolean     NOT NULL DEFAULT false,
    due_at      timestamptz NOT NULL, -- while leased: the end of the lease
    lease_token uuid,
    queued_at   timestamptz NOT NULL,
    reason      text        NOT NULL DEFAULT '', -- why it failed last
    PRIMARY KEY (owner_id, generation, ordinal)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX embedding_queue_due ON {{tables.embedding_queue}} (generation, due_at) WHERE NOT dead;
-- A queue is never what its statistics say: without any, the planner looks rows up by their keys.
ALTER TABLE {{tables.embedding_queue}} ALTER COLUMN owner_id SET STATISTICS 0, ALTER COLUMN generation SET STATISTICS 0,
    ALTER COLUMN ordinal SET STATISTICS 0, ALTER COLUMN due_at SET STATISTICS 0, ALTER COLUMN lease_token SET STATISTICS 0;
CREATE INDEX embedding_queue_lease ON {{tables.embedding_queue}} (lease_token) WHERE lease_token IS NOT NULL;

-- The index over the vectors of one owner, and who builds it.
CREATE TABLE {{tables.embedding_indexes}} (
    owner_id      text COLLATE "C" NOT NULL,
    generation    bigint      NOT NULL,
    index_name    text COLLATE "C" NOT NULL,
    vectors       bigint      NOT NULL, -- when it was built
    ready         boolean     NOT NULL DEFAULT false,
    claimed_until timestamptz NOT NULL DEFAULT '-infinity',
    claim_token   uuid,
    PRIMARY KEY (owner_id, generation)
);
