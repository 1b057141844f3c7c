DROP TABLE {{tables.embeddings}};
DROP TABLE {{tables.embedding_queue}};
DROP TABLE {{tables.embedding_generations}};
DROP TABLE {{tables.text_postings}};
DROP TABLE {{tables.text_segments}};
DROP TABLE {{tables.document_chunks}};
DROP TABLE {{tables.documents}};
DROP TABLE {{tables.document_owners}};
