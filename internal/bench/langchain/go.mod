module github.com/llmemory/llmemory/internal/bench/langchain

go 1.26.0

replace github.com/llmemory/llmemory => ../../..

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/llmemory/llmemory v0.0.0
	github.com/tmc/langchaingo v0.1.14
)

require (
	github.com/dlclark/regexp2 v1.10.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/pgvector/pgvector-go v0.1.1 // indirect
	github.com/pkoukk/tiktoken-go v0.1.6 // indirect
	golang.org/x/text v0.43.0 // indirect
)
