-- Statements on generations of vectors, their queue and the vectors.

-- name: generations
SELECT generation, profile, provider, model, dimensions, normalized, query_prefix, passage_prefix, max_tokens, price, state, backfilled,
       created_at, activated_at
FROM {{tables.embedding_generations}} WHERE state <> 'retired' ORDER BY generation;
