#!/usr/bin/env bash
# From a clean clone to a search result: installs what is missing, builds
# bin/llmemory, starts a private PostgreSQL server, adds this repository's
# documents and searches them. The data stay, so running it again is quick and
# changes nothing.
#
#   scripts/quickstart.sh         does that
#   scripts/quickstart.sh shell   opens a shell beside that server, to go on

set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = inside ]; then # beside the server; LLMEMORY_DB names it
	step() {
		local argument shown=
		for argument; do
			case $argument in *' '*) shown+=" \"$argument\"" ;; *) shown+=" $argument" ;; esac
		done
		printf '\n$ llmemory%s\n' "$shown"
		bin/llmemory "$@"
	}
	export LLMEMORY_OWNER=quickstart
	step migrate up
	documents=(README.md)
	[ ! -d docs ] || documents+=(docs)
	step add "${documents[@]}"
	step search --mode text -n 3 'shared connection pool'
	exit
fi

say() { printf '%s\n' "$*" >&2; }

scripts/setup.sh quickstart
say 'building bin/llmemory (the first time takes a minute)'
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
if [ "${1:-}" = shell ]; then
	say 'llmemory is on the PATH, its database in LLMEMORY_DB; leave with "exit", which stops the server'
	PATH="$PWD/bin:$PATH" "$tools/pgrun" -dir "$data" sh -c '"${SHELL:-bash}"; true'
	exit
fi
"$tools/pgrun" -dir "$data" "$0" inside

cat >&2 <<END

This was text mode: passages ranked by their words (exact BM25); no embedding
model and no extension is needed for it. The server is stopped; its data are in
$data. To go on, \`make shell\` opens a shell beside it, in which
\`llmemory --help\` shows what else there is.
END
