#!/usr/bin/env bash
# Reads every file of a folder and rewrites the table in docs/extraction.md:
# what became of each. Fails if one crashed, hung, or took too much memory.
#
#	scripts/extraction.sh DIR

set -euo pipefail
cd "$(dirname "$0")/.."

dir=${1:?which folder? scripts/extraction.sh DIR}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -o "$tools/" ./internal/extracttable
"$tools/extracttable" -out docs/extraction.md "$dir"
