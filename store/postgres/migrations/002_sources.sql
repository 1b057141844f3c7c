-- Where documents come from: what extraction found in their sources, the pages of passages, and the ledger of the runs that brought
-- them. New columns have constant defaults, so no row is rewritten.

ALTER TABLE {{tables.documents}}
    ADD COLUMN format      text COLLATE "C" NOT NULL DEFAULT '', -- of the source, such as docx
    ADD COLUMN markup      text COLLATE "C" NOT NULL DEFAULT '', -- of the text, such as markdown
    ADD COLUMN title       text  NOT NULL DEFAULT '', -- what the source says of itself; searched where there is no name
    ADD COLUMN author      text  NOT NULL DEFAULT '',
    ADD COLUMN source_hash bytea NOT NULL DEFAULT '', -- of the source's bytes and of how they are read; empty: not known
    ADD COLUMN pages       bytea NOT NULL DEFAULT ''; -- where pages begin in the text, packed

ALTER TABLE {{tables.document_chunks}}
    ADD COLUMN page     integer NOT NULL DEFAULT 0,  -- on which it begins, from 1; 0 without pages
    ADD COLUMN page_end integer NOT NULL DEFAULT 0,  -- on which it ends
    ADD COLUMN context  text    NOT NULL DEFAULT '', -- searched and embedded together with the text
    ADD COLUMN summary  text    NOT NULL DEFAULT '';

-- A run is one act of adding files.
CREATE TABLE {{tables.ingest_runs}} (
    owner_id     text COLLATE "C" NOT NULL,
    run_id       bigint      NOT NULL,
    id_at_origin text COLLATE "C" NOT NULL,
    sources      jsonb       NOT NULL, -- the folders and files that were named
    state        text COLLATE "C" NOT NULL, -- running, complete, stopped
    started_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    created      bigint      NOT NULL DEFAULT 0,
    updated      bigint      NOT NULL DEFAULT 0,
    unchanged    bigint      NOT NULL DEFAULT 0,
    failed       bigint      NOT NULL DEFAULT 0,
    skipped      bigint      NOT NULL DEFAULT 0,
    removed      bigint      NOT NULL DEFAULT 0,
    embedded     bigint      NOT NULL DEFAULT 0, -- passages
    fingerprint  bytea       NOT NULL DEFAULT '', -- of all outcomes of a complete run
    PRIMARY KEY (owner_id, run_id)
);

-- What became of a file, in the order in which it did.
CREATE TABLE {{tables.ingest_files}} (
    owner_id    text COLLATE "C" NOT NULL,
    run_id      bigint  NOT NULL,
    number      bigint  NOT NULL,
    source      text COLLATE "C" NOT NULL, -- the folder or file that was named
    path        text COLLATE "C" NOT NULL,
    document_id uuid,
    outcome     text COLLATE "C" NOT NULL, -- created, updated, unchanged, failed, skipped, removed
    reason      text COLLATE "C" NOT NULL,
    message     text    NOT NULL,
    chunks      integer NOT NULL,
    PRIMARY KEY (owner_id, run_id, number),
    FOREIGN KEY (owner_id, run_id) REFERENCES {{tables.ingest_runs}} (owner_id, run_id) ON DELETE CASCADE
);

-- Who may work with documents may keep the ledger, and what row-level security there is covers it.
DO $rights$
DECLARE
    model  oid := (SELECT typrelid FROM pg_catalog.pg_type WHERE oid = pg_catalog.pg_typeof(NULL::{{tables.documents}}));
    place  regclass;
    change text;
BEGIN
    FOR place IN
        SELECT typrelid FROM pg_catalog.pg_type
        WHERE oid IN (pg_catalog.pg_typeof(NULL::{{tables.ingest_runs}}), pg_catalog.pg_typeof(NULL::{{tables.ingest_files}}))
    LOOP
        FOR change IN
            SELECT pg_catalog.format('GRANT %s ON TABLE %s TO %s', a.privilege_type, place,
                       CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END)
            FROM pg_catalog.pg_class c
            CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
            WHERE c.oid = model AND a.grantee <> c.relowner
              AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
            UNION ALL
            SELECT pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', place)
            FROM pg_catalog.pg_class WHERE oid = model AND relrowsecurity
            UNION ALL
            SELECT pg_catalog.format('CREATE POLICY %I ON %s TO %s USING (%s) WITH CHECK (%s)', p.polname, place, (
                    SELECT pg_catalog.string_agg(CASE WHEN m.role = 0 THEN 'PUBLIC'
                        ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(m.role)) END, ', ')
                    FROM pg_catalog.unnest(p.polroles) m (role)
                ), pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
            FROM pg_catalog.pg_policy p
            WHERE p.polrelid = model AND p.polname IN ('llmemory_owner', 'llmemory_worker')
        LOOP
            EXECUTE change;
        END LOOP;
    END LOOP;
END
$rights$;
