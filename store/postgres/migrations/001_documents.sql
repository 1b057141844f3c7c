-- Documents, their chunks and the text index. Every key begins with owner_id: an owner's rows lie together, nothing is looked up
-- by a bare id, and every table can be distributed by owner as it stands. Identifiers compare byte by byte (collation C), so an
-- order never depends on the server's locale.

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
