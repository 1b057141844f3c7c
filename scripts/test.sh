#!/usr/bin/env bash
# Runs go test, race detector on and order shuffled, against one PostgreSQL
# server for all packages: the one of PGTEST_URL, or a private one that ends
# with this script, however it ends. Arguments are go test's; the default is
# ./... With -v what passed tests wrote is printed too. In CI (CI=true) a
# skipped test is a failure.

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh test

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/" ./internal/pgrun ./internal/gotest

filter=("$tools/gotest")
[ "${CI:-}" != true ] || filter+=(-no-skip)
[[ " $* " != *" -v "* ]] || filter+=(-v)
[ $# != 0 ] || set -- ./...

# With the race detector every program, those that tests start included, would wait a second before it ends.
export GORACE=${GORACE:-atexit_sleep_ms=0}

# What others wrote and only computes takes several times as long when its every access to memory is watched; SQLite, translated to Go,
# thirty times. Who shares its values between goroutines is watched all the same. None of these makes an instance of another package's
# generic type: such a one, of sync.Map for example, may be linked for all, and locks go unseen.
unwatched=()
for path in github.com/{ncruces/go-sqlite3-wasm/v6,tetratelabs/wazero/internal/engine/wazevo/{backend,frontend,ssa}/...} \
	github.com/{yuin/goldmark,clipperhouse/uax29/v2,blevesearch/segment,blevesearch/snowballstem,google/go-cmp,wlynxg/chardet}/... \
	golang.org/x/{net/html,text}/...; do
	unwatched+=("-gcflags=$path=-race=false")
done

# What takes longest begins first: by its name it would come near the end, and end alone.
[ "${!#}" != ./... ] || set -- "${@:1:$#-1}" ./store/postgres ./...

# The package's own -timeout wins, as it comes later.
"$tools/pgrun" go test -race "${unwatched[@]}" -shuffle=on -timeout 20m -json "$@" | "${filter[@]}"
