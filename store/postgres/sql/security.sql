-- Row-level security, see security.go. {{tables.tenant}} stands for each table that has an owner in every row.

-- name: security_tables
-- These tables, and whether row-level security is forced on them.
SELECT c.relname::text, c.relrowsecurity AND c.relforcerowsecurity
FROM pg_catalog.pg_class c
WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = $1) AND c.relkind IN ('r', 'p')
  AND (c.relname = ANY ($2::text[]) OR EXISTS (
      SELECT FROM {{tables.embedding_generations}} g WHERE c.relname = 'embeddings_' || g.generation::text))
ORDER BY 1;

-- name: security_state
WITH worker AS (
    SELECT DISTINCT pg_catalog.unnest(polroles) AS role FROM pg_catalog.pg_policy
    WHERE polrelid = $1::regclass AND polname = 'llmemory_worker'
)
SELECT current_user::text, row_security_active($1::regclass),
       (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user),
       coalesce((SELECT bool_or(pg_has_role(role, 'USAGE')) FROM worker), false),
       ARRAY(SELECT pg_get_userbyid(role)::text FROM worker ORDER BY 1);

-- name: security_owner_of_tables
SELECT pg_get_userbyid(relowner)::text FROM pg_catalog.pg_class WHERE oid = $1::regclass;

-- name: security_function
-- Whose rows a transaction may see. Nobody's is an error, not an answer without rows.
CREATE OR REPLACE FUNCTION {{tables.current_document_owner}}() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE AS $function$
DECLARE
    owner text := pg_catalog.current_setting('llmemory.owner', true);
BEGIN
    IF pg_catalog.length(owner) OPERATOR(pg_catalog.>) 0 THEN
        RETURN owner;
    END IF;
    RAISE EXCEPTION 'row-level security keeps what belongs to no single owner from this role' USING ERRCODE = 'LLM01';
END
$function$;

-- name: security_on
ALTER TABLE {{tables.tenant}} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- name: security_owner_policy
-- The function is called once for a statement, not for each row.
CREATE POLICY llmemory_owner ON {{tables.tenant}}
    USING (owner_id = (SELECT {{tables.current_document_owner}}())) WITH CHECK (owner_id = (SELECT {{tables.current_document_owner}}()));

-- name: security_worker_policy
CREATE POLICY llmemory_worker ON {{tables.tenant}} TO /*role*/ USING (true) WITH CHECK (true);

-- name: security_off
ALTER TABLE {{tables.tenant}} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;

-- name: security_drop_owner_policy
DROP POLICY IF EXISTS llmemory_owner ON {{tables.tenant}};

-- name: security_drop_worker_policy
DROP POLICY IF EXISTS llmemory_worker ON {{tables.tenant}};

-- name: security_drop_function
DROP FUNCTION IF EXISTS {{tables.current_document_owner}}();

-- name: table_security
-- What gives the table of a generation the row-level security of the queue.
SELECT pg_catalog.format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', $1::regclass)
FROM pg_catalog.pg_class WHERE oid = $2::regclass AND relrowsecurity
UNION ALL
SELECT pg_catalog.format('CREATE POLICY %I ON %s TO %s USING (%s) WITH CHECK (%s)', p.polname, $1::regclass, (
        SELECT string_agg(CASE WHEN m.role = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_get_userbyid(m.role)) END, ', ')
        FROM pg_catalog.unnest(p.polroles) m (role)
    ), pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_catalog.pg_policy p
WHERE p.polrelid = $2::regclass AND p.polname IN ('llmemory_owner', 'llmemory_worker');
