-- What the processor knows of a document. The text is in llmemory's tables, whose rows are never touched from here.
CREATE TABLE {{tables.processed_documents}} (
    workspace    text        NOT NULL,
    document_id  uuid        NOT NULL,
    title        text        NOT NULL,
    words        integer     NOT NULL,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace, document_id)
);
