#!/usr/bin/env bash
# Runs the tests of what is written in assembly for arm64: here, or under QEMU
# where this processor is another. Without QEMU, and without the right to
# install it, it says so and runs nothing.

set -euo pipefail
cd "$(dirname "$0")/.."

exec=()
if [ "$(go env GOHOSTARCH)" != arm64 ]; then
	command -v qemu-aarch64 >/dev/null || scripts/setup.sh emulator || {
		echo 'arm64: not tested, as there is no qemu-aarch64'
		exit 0
	}
	exec=(-exec qemu-aarch64)
fi
CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go test "${exec[@]}" ./internal/nn ./internal/vec | sed 's/^/arm64: /'
