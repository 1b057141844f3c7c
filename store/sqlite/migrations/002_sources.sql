-- Where documents come from: what extraction found in their sources, the pages of passages, and the ledger of the runs that brought
-- them. New columns have constant defaults, so no row is rewritten.

ALTER TABLE {{tables.documents}} ADD COLUMN format      TEXT NOT NULL DEFAULT ''; -- of the source, such as docx
ALTER TABLE {{tables.documents}} ADD COLUMN markup      TEXT NOT NULL DEFAULT ''; -- of the text, such as markdown
ALTER TABLE {{tables.documents}} ADD COLUMN title       TEXT NOT NULL DEFAULT ''; -- what the source says of itself; searched where there is no name
ALTER TABLE {{tables.documents}} ADD COLUMN author      TEXT NOT NULL DEFAULT '';
ALTER TABLE {{tables.documents}} ADD COLUMN source_hash BLOB NOT NULL DEFAULT x''; -- of the source's bytes and of how they are read; empty: not known
ALTER TABLE {{tables.documents}} ADD COLUMN pages       BLOB NOT NULL DEFAULT x''; -- where pages begin in the text, packed

ALTER TABLE {{tables.document_chunks}} ADD COLUMN page     INTEGER NOT NULL DEFAULT 0;  -- on which it begins, from 1; 0 without pages
ALTER TABLE {{tables.document_chunks}} ADD COLUMN page_end INTEGER NOT NULL DEFAULT 0;  -- on which it ends
ALTER TABLE {{tables.document_chunks}} ADD COLUMN context  TEXT    NOT NULL DEFAULT ''; -- searched and embedded together with the text
ALTER TABLE {{tables.document_chunks}} ADD COLUMN summary  TEXT    NOT NULL DEFAULT '';

-- A run is one act of adding files.
CREATE TABLE {{tables.ingest_runs}} (
    owner_id     TEXT    NOT NULL,
    run_id       INTEGER NOT NULL,
    id_at_origin TEXT    NOT NULL,
    sources      TEXT    NOT NULL, -- the folders and files that were named, JSON
    state        TEXT    NOT NULL, -- running, complete, stopped
    started_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    created      INTEGER NOT NULL DEFAULT 0,
    updated      INTEGER NOT NULL DEFAULT 0,
    unchanged    INTEGER NOT NULL DEFAULT 0,
    failed       INTEGER NOT NULL DEFAULT 0,
    skipped      INTEGER NOT NULL DEFAULT 0,
    removed      INTEGER NOT NULL DEFAULT 0,
    embedded     INTEGER NOT NULL DEFAULT 0, -- passages
    fingerprint  BLOB    NOT NULL DEFAULT x'', -- of all outcomes of a complete run
    PRIMARY KEY (owner_id, run_id)
) STRICT, WITHOUT ROWID;

-- What became of a file, in the order in which it did.
CREATE TABLE {{tables.ingest_files}} (
    owner_id    TEXT    NOT NULL,
    run_id      INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    source      TEXT    NOT NULL, -- the folder or file that was named
    path        TEXT    NOT NULL,
    document_id BLOB,
    outcome     TEXT    NOT NULL, -- created, updated, unchanged, failed, skipped, removed
    reason      TEXT    NOT NULL,
    message     TEXT    NOT NULL,
    chunks      INTEGER NOT NULL,
    PRIMARY KEY (owner_id, run_id, number),
    FOREIGN KEY (owner_id, run_id) REFERENCES {{tables.ingest_runs}} (owner_id, run_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
