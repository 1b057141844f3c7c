#!/usr/bin/env bash
# Measures llmemory on a private PostgreSQL server that syncs to disk and prints
# Markdown. Arguments are those of internal/bench, for example -sizes 10000 or
# -db URL for a server of your own. A number is worth something together with
# the machine, the data and the commit, so the commit is printed too.

set -euo pipefail
cd "$(dirname "$0")/.."

case " $* " in
*' -parts embed '* | *' -parts embedded '* | *' -parts embed,embedded '*) ;; # without a server
*) scripts/setup.sh test ;;
esac

printf 'commit: %s\n\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
exec go run ./internal/bench "$@"
