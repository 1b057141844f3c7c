-- Leaves that are embedded in several parts: a leaf's row of embeddings holds the vectors of its parts, one after the other, and counts
-- as one leaf and so many vectors.

ALTER TABLE {{tables.document_chunks}} ADD COLUMN parts INTEGER NOT NULL DEFAULT 1; -- leaves: in how many parts they are embedded

ALTER TABLE {{tables.embedding_sets}} ADD COLUMN leaves INTEGER NOT NULL DEFAULT 0; -- that have their vectors
UPDATE {{tables.embedding_sets}} SET leaves = vectors;
