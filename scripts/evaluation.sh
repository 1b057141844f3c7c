#!/usr/bin/env bash
# Measures the quality of searches on a folder of collections, in a private
# PostgreSQL and in a file, and rewrites the tables of docs/evaluation.md.
# Arguments are those of internal/evaltable; DATA, BY_ORIGIN, MODEL and WEIGHTS
# may come from the environment.

set -euo pipefail
cd "$(dirname "$0")/.."

data=${DATA:?which collections? make evaluation DATA=dir, a folder of folders with corpus.jsonl, queries.jsonl and qrels.tsv}
model=${MODEL:?which model? MODEL=dir, a folder of all-MiniLM-L6-v2 such as "llmemory models pull" makes}

scripts/setup.sh test

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/" ./internal/pgrun ./internal/evaltable
"$tools/pgrun" "$tools/evaltable" -data "$data" -model "$model" -by-origin "${BY_ORIGIN:-locomo_turns,locomo_sessions}" \
	-weights "${WEIGHTS:-0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.55,0.6,0.65,0.7}" -out docs/evaluation.md "$@"
