#!/usr/bin/env bash
# Runs the benchmarks of the stores against a private PostgreSQL server that
# syncs to disk. Arguments are go test's, for example
# -benchtime 10s. A number is worth something together with the machine, the
# data and the commit, so these are printed too.

set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh test

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/" ./internal/pgrun

printf 'commit:  %s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
printf 'machine: %s, %s cores, %s\n' "$(uname -sm)" "$(nproc)" \
	"$(sed -n 's/^model name[^:]*: //p;' /proc/cpuinfo 2>/dev/null | head -n 1)"

"$tools/pgrun" -durable go test -run '^$' -bench . -benchmem -timeout 2h "$@" ./store/...
