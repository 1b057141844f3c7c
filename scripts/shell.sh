#!/usr/bin/env bash
# Opens a shell with llmemory on the PATH and a private PostgreSQL server in
# LLMEMORY_DB, which is installed where it is missing. The server ends with the
# shell; its data stay.

set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

scripts/setup.sh shell
say 'building bin/llmemory (the first time takes a minute or two)'
go build -o bin/llmemory ./cmd/llmemory
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/" ./internal/pgrun

# Of the user who runs this. As root the server runs as another user, who may
# not pass /root: its data are where a service's data belong.
state=${XDG_STATE_HOME:-$HOME/.local/state}
if [ "$(id -u)" = 0 ]; then state=/var/lib; fi
data=$state/llmemory/quickstart
say "starting a private PostgreSQL server (data in $data)"
say 'llmemory is on the PATH, its database in LLMEMORY_DB; leave with "exit", which stops the server'
PATH="$PWD/bin:$PATH" "$tools/pgrun" -dir "$data" sh -c '"${SHELL:-bash}"; true'
