#!/usr/bin/env bash
# gofmt, go vet and staticcheck over the whole module; any finding fails.

set -uo pipefail
cd "$(dirname "$0")/.."
status=0

unformatted=$(git ls-files -co --exclude-standard '*.go' | xargs -r gofmt -l) || status=1
if [ -n "$unformatted" ]; then
	printf 'gofmt would change:\n%s\n' "$unformatted"
	status=1
fi
go vet ./... || status=1
go vet -C internal/bench/langchain . || status=1 # a module of its own
go run "${STATICCHECK:-honnef.co/go/tools/cmd/staticcheck@v0.8.2}" ./... || status=1

[ "$status" = 0 ] && echo 'lint: no findings'
exit "$status"
