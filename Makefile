# llmemory: `make` lists the targets.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Arguments of go test, for example: make test TESTFLAGS='-run TestSearch' PKG=./store/...
TESTFLAGS   ?=
PKG         ?= ./...

.DEFAULT_GOAL := help
.PHONY: help quickstart shell build test lint bench eval soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: ## install what is missing, start a private PostgreSQL, add and search a document
	@scripts/quickstart.sh

shell: ## open a shell with llmemory on the PATH and the quick start's PostgreSQL in LLMEMORY_DB
	@scripts/quickstart.sh shell

build: ## build bin/llmemory
	$(GO) build -o bin/llmemory ./cmd/llmemory

test: ## run all tests against a private PostgreSQL (PKG=…, TESTFLAGS=…)
	@scripts/test.sh $(TESTFLAGS) $(PKG)

lint: ## gofmt, go vet, staticcheck; any finding fails
	@scripts/lint.sh

bench: ## measure adding and searching on a private PostgreSQL (BENCHFLAGS=…)
	@scripts/bench.sh $(BENCHFLAGS)

eval: build ## measure retrieval quality over a collection: make eval DATA=dir (EVALFLAGS=…)
	@test -n "$(DATA)" || { echo 'which collection? make eval DATA=dir (corpus.jsonl, queries.jsonl, qrels.tsv)' >&2; exit 2; }
	bin/llmemory eval $(EVALFLAGS) "$(DATA)"

soak: ## run all tests in their long form, up to 4 hours (PKG=…, TESTFLAGS=…)
	@SOAK=1 scripts/test.sh -timeout 4h $(TESTFLAGS) $(PKG)

clean: ## remove what the other targets built
	rm -rf bin
