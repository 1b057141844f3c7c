#!/usr/bin/env bash
# Fuzzes every target of some packages for a time each:
#
#   scripts/fuzz.sh [-j N] TIME PACKAGE…
#
# -j fuzzes N targets at a time, which share the processors; otherwise each has
# all of them. What a target finds is kept as a seed in its package's
# testdata/fuzz, where go test runs it from then on.

set -euo pipefail
cd "$(dirname "$0")/.."
jobs=1
flags=()
if [ "$1" = -j ]; then
	jobs=$2
	flags=("-test.parallel=$((($(getconf _NPROCESSORS_ONLN) + jobs - 1) / jobs))")
	shift 2
fi
time=$1
shift

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Go before 1.27 may call the end of -fuzztime itself a failure
# (https://go.dev/issue/75804): nothing but that is tried again. Any finding
# names an input or a process, and is none of it.
ended() { # TARGET OUTPUT
	[ "$(grep -v '^fuzz: elapsed:\|^FAIL\|^exit status 1$' <<<"$2" | sed 's/([0-9.]*s)//; s/^ *//; s/ *$//')" = "--- FAIL: $1"$'\n''context deadline exceeded' ]
}

# run TARGET PACKAGE FOLDER PROGRAM, with little time spent on making inputs
# shorter, which would take all of a short run.
run() {
	for _ in 1 2 3; do
		out=$(cd "$3" && "$4" -test.run '^$' -test.fuzz "^$1\$" -test.fuzztime "$time" -test.fuzzminimizetime 50x \
			-test.fuzzcachedir "$corpora/$2" "${flags[@]}" 2>&1) && return
		ended "$1" "$out" || return 1
	done
	return 1
}

# fuzz TARGET PACKAGE FOLDER PROGRAM tells what came of it.
fuzz() {
	if run "$@"; then
		runs=$(grep -o 'execs: [0-9]*' <<<"$out" | tail -1) || runs=
		printf 'fuzz: %s %s, %s\n' "${2#github.com/llmemory/llmemory/}" "$1" "${runs:-execs: none}"
	else
		printf 'FAILED  fuzz %s %s\n%s\n' "$2" "$1" "$out"
		return 1
	fi
}

corpora=$(go env GOCACHE)/fuzz
status=0
count=0
running=0
last=
while read -r package target; do
	if [ "$package" != "$last" ]; then # linked once for all its targets
		last=$package
		program=$work/$((count + 1)).test
		folder=$(go list -f '{{.Dir}}' "$package")
		go test -c -fuzz . -o "$program" "$package"
	fi
	if [ "$running" = "$jobs" ]; then
		wait -n || status=1
		running=$((running - 1))
	fi
	count=$((count + 1))
	running=$((running + 1))
	fuzz "$target" "$package" "$folder" "$program" &
done < <(go test -json -list '^Fuzz' "$@" | sed -n 's/.*"Action":"output","Package":"\([^"]*\)","Output":"\(Fuzz[A-Za-z0-9_]*\)\\n".*/\1 \2/p')
while [ "$running" != 0 ]; do
	wait -n || status=1
	running=$((running - 1))
done

if [ "$count" = 0 ]; then
	echo 'fuzz: no target found' >&2
	exit 1
fi
[ "$status" = 0 ] && printf 'fuzz: %d targets, %s each, no finding\n' "$count" "$time"
exit "$status"
