#!/usr/bin/env bash
# Fuzzes every target of some packages for a time each: scripts/fuzz.sh TIME
# PACKAGE…. What a target finds is kept as a seed in its package's
# testdata/fuzz, where go test runs it from then on.

set -euo pipefail
cd "$(dirname "$0")/.."
time=$1
shift

# Go before 1.27 may call the end of -fuzztime itself a failure
# (https://go.dev/issue/75804): nothing but that is tried again. Any finding
# names an input or a process, and is none of it.
ended() { # TARGET OUTPUT
	[ "$(grep -v '^fuzz: elapsed:\|^FAIL\|^exit status 1$' <<<"$2" | sed 's/([0-9.]*s)//; s/^ *//; s/ *$//')" = "--- FAIL: $1"$'\n''context deadline exceeded' ]
}

# run TARGET PACKAGE, with little time spent on making inputs shorter, which
# would take all of a short run.
run() {
	for _ in 1 2 3; do
		out=$(go test -run '^$' -fuzz "^$1\$" -fuzztime "$time" -fuzzminimizetime 50x "$2" 2>&1) && return
		ended "$1" "$out" || return 1
	done
	return 1
}

status=0
count=0
while read -r package target; do
	count=$((count + 1))
	if run "$target" "$package"; then
		runs=$(grep -o 'execs: [0-9]*' <<<"$out" | tail -1) || runs=
		printf 'fuzz: %s %s, %s\n' "${package#github.com/llmemory/llmemory/}" "$target" "${runs:-execs: none}"
	else
		status=1
		printf 'FAILED  fuzz %s %s\n%s\n' "$package" "$target" "$out"
	fi
done < <(go test -json -list '^Fuzz' "$@" | sed -n 's/.*"Action":"output","Package":"\([^"]*\)","Output":"\(Fuzz[A-Za-z0-9_]*\)\\n".*/\1 \2/p')

if [ "$count" = 0 ]; then
	echo 'fuzz: no target found' >&2
	exit 1
fi
[ "$status" = 0 ] && printf 'fuzz: %d targets, %s each, no finding\n' "$count" "$time"
exit "$status"
