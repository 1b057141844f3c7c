# llmemory: `make` lists the targets.

GO          ?= go
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Arguments of go test, for example: make test TESTFLAGS='-run TestSearch' PKG=./store/...
TESTFLAGS   ?=
PKG         ?= ./...

.DEFAULT_GOAL := help
.PHONY: help quickstart shell build test lint bench eval evaluation extraction soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: ## build, fetch a model if it can be had, add this repository's documents to a file and search them
	@scripts/quickstart.sh

shell: ## open a shell with llmemory on the PATH and a private PostgreSQL in LLMEMORY_DB
	@scripts/shell.sh

build: ## build bin/llmemory
	CGO_ENABLED=0 $(GO) build -o bin/llmemory ./cmd/llmemory

test: ## run all tests against a private PostgreSQL, those of assembly for arm64 too, and fuzz for a minute (PKG=…, TESTFLAGS=… leave these two out)
	@scripts/test.sh $(TESTFLAGS) $(PKG)
ifeq ($(PKG)$(TESTFLAGS),./...)
	@scripts/arm64.sh
	@scripts/fuzz.sh -j 2 3s ./chunk/... ./extract/...
endif

lint: ## gofmt, go vet, staticcheck; any finding fails
	@scripts/lint.sh

bench: ## measure adding and searching on a private PostgreSQL (BENCHFLAGS=…)
	@scripts/bench.sh $(BENCHFLAGS)

eval: build ## measure retrieval quality over a collection: make eval DATA=dir (EVALFLAGS=…)
	@test -n "$(DATA)" || { echo 'which collection? make eval DATA=dir (corpus.jsonl, queries.jsonl, qrels.tsv)' >&2; exit 2; }
	bin/llmemory eval $(EVALFLAGS) "$(DATA)"

evaluation: ## measure collections in both stores and rewrite docs/evaluation.md: make evaluation DATA=dir (BY_ORIGIN=, MODEL=)
	@DATA="$(DATA)" scripts/evaluation.sh

extraction: ## read a folder of documents and rewrite the table of docs/extraction.md: make extraction DATA=dir
	@scripts/extraction.sh "$(DATA)"

soak: ## run all tests in their long form, up to 4 hours, and fuzz each target for 10 minutes (PKG=…, TESTFLAGS=… leave fuzzing out)
	@SOAK=1 scripts/test.sh -timeout 4h $(TESTFLAGS) $(PKG)
ifeq ($(PKG)$(TESTFLAGS),./...)
	@scripts/fuzz.sh 10m ./...
endif

clean: ## remove what the other targets built
	rm -rf bin
