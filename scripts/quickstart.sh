#!/usr/bin/env bash
# From a clean clone to a search by meaning: builds bin/llmemory, fetches a
# model if it can be had, adds this repository's documents to a file and
# searches them, by meaning and by words. It takes Go and nothing else. The data
# stay, so running it again is quick and changes nothing.

set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

step() {
	local argument shown=
	for argument; do
		case $argument in *' '*) shown+=" \"$argument\"" ;; *) shown+=" $argument" ;; esac
	done
	printf '\n$ llmemory%s\n' "$shown"
	bin/llmemory "$@"
}

scripts/setup.sh quickstart
say 'building bin/llmemory (the first time takes a minute or two)'
CGO_ENABLED=0 go build -o bin/llmemory ./cmd/llmemory

# In the user's own file, under an owner of its own.
unset LLMEMORY_DB LLMEMORY_CONFIG LLMEMORY_SCHEMA LLMEMORY_READ_URLS LLMEMORY_JSON
export LLMEMORY_OWNER=quickstart
model=yes
step models pull || model=
# Without the model nothing is sent to anybody else's, even if there is a key.
[ -n "$model" ] || export LLMEMORY_EMBEDDER=${LLMEMORY_EMBEDDER:-none}

documents=(README.md)
[ ! -d docs ] || documents+=(docs)
step add "${documents[@]}"
if [ -n "$model" ]; then
	# No word of it is in what it finds.
	step search -n 1 --mode vector 'how can I relocate everything to a different computer?'
fi
step search -n 3 'shared connection pool'

if [ -n "$model" ]; then
	cat >&2 <<END

The first search went by meaning alone: what it found shares no word that counts
with the question. The second went by meaning and by words. The documents are in
a file of yours, as owner "quickstart":
END
else
	cat >&2 <<END

No model was to be had, so there are no vectors, and the search went by words
(exact BM25). What was tried is told above; as soon as one of the places can be
reached, \`make quickstart\` searches by meaning, too. The documents are in a file
of yours, as owner "quickstart":
END
fi
cat >&2 <<END
  bin/llmemory --owner quickstart search "…"
  bin/llmemory --owner quickstart delete --all     removes them
\`bin/llmemory --help\` shows what else there is.
END
