#!/usr/bin/env bash
# gofmt, go vet and staticcheck over the whole module, and the command built
# without cgo for other systems; any finding fails.

set -uo pipefail
cd "$(dirname "$0")/.."
status=0

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l) || status=1
if [ -n "$unformatted" ]; then
	printf 'gofmt would change:\n%s\n' "$unformatted"
	status=1
fi
go vet ./... || status=1
GOARCH=arm64 go vet ./internal/nn ./internal/vec || status=1 # what is in assembly
for peer in langchain chromem; do # modules of their own
	go vet -C "internal/bench/$peer" . || status=1
done
go run "${STATICCHECK:-honnef.co/go/tools/cmd/staticcheck@v0.8.2}" ./... || status=1

# The command takes no C compiler, here or elsewhere.
for target in linux/arm64 darwin/arm64 windows/amd64; do
	CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -o /dev/null ./cmd/llmemory || {
		printf 'cmd/llmemory does not build for %s\n' "$target"
		status=1
	}
done
bin=$(mktemp -d)
CGO_ENABLED=0 GOBIN=$bin go install ./cmd/llmemory && "$bin/llmemory" version >/dev/null || status=1
rm -rf "$bin"

[ "$status" = 0 ] && echo 'lint: no findings'
exit "$status"
