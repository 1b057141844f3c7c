-- Documents, their chunks, the text index and embeddings. Every key begins with owner_id: an owner's rows lie together, and nothing is
-- looked up by a bare id. Names are those of the PostgreSQL store. Ids are the 16 bytes of a UUID, times are microseconds since 1970
-- in UTC, text compares byte by byte. Tables of small rows are kept in their key's order (WITHOUT ROWID); rows that hold texts or
-- blobs are not, since they would make the tree that is searched a deep one.

-- One row per owner: what the text index needs to know about the owner as a whole.
CREATE TABLE {{tables.document_owners}} (
    owner_id     TEXT    NOT NULL PRIMARY KEY,
    documents    INTEGER NOT NULL DEFAULT 0,
    leaves       INTEGER NOT NULL DEFAULT 0,
    length       INTEGER NOT NULL DEFAULT 0,
    next_ordinal INTEGER NOT NULL DEFAULT 0,
    next_segment INTEGER NOT NULL DEFAULT 1,
    merge_due    INTEGER NOT NULL DEFAULT 0,
    analysis     INTEGER NOT NULL,
    languages    TEXT    NOT NULL DEFAULT '{}'
) STRICT, WITHOUT ROWID;
CREATE INDEX document_owners_merge_due ON {{tables.document_owners}} (owner_id) WHERE merge_due;

CREATE TABLE {{tables.documents}} (
    owner_id      TEXT    NOT NULL,
    document_id   BLOB    NOT NULL,
    id_at_origin  TEXT    NOT NULL,
    document_key  TEXT    NOT NULL,
    document_name TEXT    NOT NULL,
    document_type TEXT    NOT NULL,
    document_date INTEGER,
    language      TEXT    NOT NULL,
    content_hash  BLOB    NOT NULL,
    bytes         INTEGER NOT NULL,
    tokens        INTEGER NOT NULL,
    leaves        INTEGER NOT NULL,
    no_vectors    INTEGER NOT NULL DEFAULT 0, -- its leaves are not to be embedded
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    metadata      TEXT    NOT NULL, -- JSON
    tail          TEXT    NOT NULL, -- white space after the last leaf
    PRIMARY KEY (owner_id, document_id),
    UNIQUE (owner_id, id_at_origin, document_key)
) STRICT;
CREATE INDEX documents_created ON {{tables.documents}} (owner_id, created_at, document_id);
CREATE INDEX documents_date ON {{tables.documents}} (owner_id, document_date) WHERE document_date IS NOT NULL;

-- Leaves (level 0) hold the text: lead || content of all leaves in order, then the document's tail, is the document's text.
-- Parents (level 1) are ranges over leaves.
CREATE TABLE {{tables.document_chunks}} (
    owner_id    TEXT    NOT NULL,
    chunk_id    BLOB    NOT NULL,
    document_id BLOB    NOT NULL,
    parent_id   BLOB,
    level       INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    start_byte  INTEGER NOT NULL,
    end_byte    INTEGER NOT NULL,
    tokens      INTEGER NOT NULL,
    ordinal     INTEGER,          -- leaves: the number the text index knows them by
    length      INTEGER NOT NULL, -- leaves: indexed terms
    input_hash  BLOB,             -- leaves: of what is searched, text and context
    heading     TEXT    NOT NULL,
    lead        TEXT    NOT NULL,
    content     TEXT    NOT NULL,
    PRIMARY KEY (owner_id, chunk_id),
    FOREIGN KEY (owner_id, document_id) REFERENCES {{tables.documents}} (owner_id, document_id) ON DELETE CASCADE
) STRICT;
-- With the ordinal, so that the leaves of documents are found without reading their texts.
CREATE INDEX document_chunks_position ON {{tables.document_chunks}} (owner_id, document_id, level, position, ordinal);
CREATE UNIQUE INDEX document_chunks_ordinal ON {{tables.document_chunks}} (owner_id, ordinal) WHERE ordinal IS NOT NULL;

-- A segment is a piece of an owner's text index over the ordinals [low, high). Its pages hold what it knows of the terms from
-- first_term up to the next page.
CREATE TABLE {{tables.text_segments}} (
    owner_id   TEXT    NOT NULL,
    segment_id INTEGER NOT NULL,
    low        INTEGER NOT NULL,
    high       INTEGER NOT NULL,
    leaves     INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    dead_count INTEGER NOT NULL DEFAULT 0,
    dead       BLOB,
    PRIMARY KEY (owner_id, segment_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE {{tables.text_postings}} (
    owner_id   TEXT    NOT NULL,
    segment_id INTEGER NOT NULL,
    first_term TEXT    NOT NULL,
    postings   BLOB    NOT NULL,
    positions  BLOB    NOT NULL,
    PRIMARY KEY (owner_id, segment_id, first_term)
) STRICT;

-- The only table without an owner: a generation is one for all. Ids are never used again, so whoever speaks of a generation that
-- was retired meanwhile finds nothing, and not another one.
CREATE TABLE {{tables.embedding_generations}} (
    generation       INTEGER PRIMARY KEY AUTOINCREMENT,
    identity         TEXT    NOT NULL, -- of the model, see embedding.ModelInfo
    profile          TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    dimensions       INTEGER NOT NULL,
    normalized       INTEGER NOT NULL,
    query_prefix     TEXT    NOT NULL,
    passage_prefix   TEXT    NOT NULL,
    max_tokens       INTEGER NOT NULL,
    price            REAL    NOT NULL, -- US dollars for a million tokens
    state            TEXT    NOT NULL, -- building, active, standby, or retired while its rows are being removed
    backfilled       INTEGER NOT NULL,
    backfill_owner   TEXT    NOT NULL DEFAULT '', -- leaves up to here are queued
    backfill_ordinal INTEGER NOT NULL DEFAULT -1,
    created_at       INTEGER NOT NULL,
    activated_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX embedding_generations_model ON {{tables.embedding_generations}} (identity, profile) WHERE state <> 'retired';
CREATE UNIQUE INDEX embedding_generations_active ON {{tables.embedding_generations}} (state) WHERE state = 'active';

-- What an owner has in a generation. Numbers are never used again. The keys of jobs, vectors and pages begin with the number, and so
-- with owner and generation.
CREATE TABLE {{tables.embedding_sets}} (
    set_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id   TEXT    NOT NULL,
    generation INTEGER NOT NULL,
    version    INTEGER NOT NULL DEFAULT 0, -- the last change
    since      INTEGER NOT NULL DEFAULT 0, -- the version from which on pages tell what was removed
    vectors    INTEGER NOT NULL DEFAULT 0,
    removed    INTEGER NOT NULL DEFAULT 0, -- vectors that pages hold still
    UNIQUE (owner_id, generation)
) STRICT;
CREATE INDEX embedding_sets_generation ON {{tables.embedding_sets}} (generation);

-- A leaf that waits for a vector. Whoever removes the row may put the vector in its place: nobody else may, so a vector never comes
-- too late.
CREATE TABLE {{tables.embedding_queue}} (
    set_id      INTEGER NOT NULL,
    ordinal     INTEGER NOT NULL,
    generation  INTEGER NOT NULL, -- of the set
    attempts    INTEGER NOT NULL DEFAULT 0,
    dead        INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL, -- while leased: the end of the lease
    lease_token BLOB,
    queued_at   INTEGER NOT NULL,
    reason      TEXT    NOT NULL DEFAULT '', -- why it failed last
    PRIMARY KEY (set_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX embedding_queue_due ON {{tables.embedding_queue}} (generation, due_at) WHERE NOT dead;
CREATE INDEX embedding_queue_lease ON {{tables.embedding_queue}} (lease_token) WHERE lease_token IS NOT NULL;

-- The vectors: little-endian 32-bit floats. The key is the number of the set, times 2^32, plus the leaf's ordinal.
CREATE TABLE {{tables.embeddings}} (
    vector_id  INTEGER PRIMARY KEY,
    input_hash BLOB NOT NULL,
    embedding  BLOB NOT NULL
) STRICT;
CREATE INDEX embeddings_input ON {{tables.embeddings}} (vector_id >> 32, input_hash);

-- The vectors once more, quantised, many to a page: what changed up to a version, beginning where the page before ends. See
-- internal/vecscan for what is in a page.
CREATE TABLE {{tables.embedding_pages}} (
    page_id INTEGER PRIMARY KEY,
    set_id  INTEGER NOT NULL,
    version INTEGER NOT NULL, -- the last it tells of
    size    INTEGER NOT NULL, -- vectors and removals
    page    BLOB    NOT NULL
) STRICT;
CREATE INDEX embedding_pages_version ON {{tables.embedding_pages}} (set_id, version, page_id, size);
