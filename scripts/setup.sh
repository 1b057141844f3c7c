#!/usr/bin/env bash
# Installs what llmemory's tests and scripts need, where it is missing.
#
#   scripts/setup.sh test         C compiler (race detector), PostgreSQL, pgvector, PgBouncer, libfaketime
#   scripts/setup.sh shell        PostgreSQL
#   scripts/setup.sh emulator     QEMU, to run programs for arm64
#   scripts/setup.sh quickstart   nothing but Go, which it looks for
#
# For Debian and Ubuntu. With everything present it does nothing and needs no
# rights. Otherwise it works as root or by `sudo -n`, and where it may do
# neither it says what to install and fails.
#
# It starts no service, creates no cluster, and restarts none: no package that
# is installed already is upgraded. Where the distribution has no pgvector for
# its PostgreSQL (Debian 12), or too old a one, it is built from Debian's own
# source package into a .deb, `postgresql-NN-pgvector`, which apt can remove.
#
# LLMEMORY_DEBIAN_MIRROR names another mirror for that source package.

set -euo pipefail

readonly vector_min=0.8.0 # iterative index scans
readonly vector_suite=trixie
readonly mirror=${LLMEMORY_DEBIAN_MIRROR:-http://deb.debian.org/debian}

work=
policy=
log=

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
	say "$*"
	exit 1
}

usage() {
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

# ---- what is there ----------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

have_compiler() { # a compiler and the C library's headers
	have gcc && printf '#include <stdlib.h>\nint main(void){return 0;}\n' | gcc -x c -o /dev/null - 2>/dev/null
}

have_faketime() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null; }

have_pgbouncer() { have pgbouncer || [ -x /usr/sbin/pgbouncer ]; }

# server_bin prints the programs' folder of the newest installed server.
server_bin() {
	local dir dirs=()
	have pg_config && dirs+=("$(pg_config --bindir)")
	while read -r dir; do dirs+=("$dir"); done < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
	IFS=: read -ra path <<<"$PATH"
	for dir in "${dirs[@]}" "${path[@]}"; do
		if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then
			printf '%s %s\n' "$("$dir/postgres" --version | sed 's/^[^)]*) *\([0-9]*\).*/\1/')" "$dir"
		fi
	done | sort -srnk1,1 | sed -n '1s/^[0-9]* //p'
}

server_version() { "$1/postgres" --version | sed 's/^[^)]*) *\([0-9]*\).*/\1/'; }

# vector_version prints the version of pgvector that the server in $1 offers.
vector_version() {
	local share
	share=$("$1/pg_config" --sharedir 2>/dev/null) || share=${1%/bin}/share
	sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" "$share/extension/vector.control" 2>/dev/null || true
}

at_least() { [ -n "$1" ] && [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

have_vector() {
	local bin
	bin=$(server_bin)
	[ -n "$bin" ] && at_least "$(vector_version "$bin")" "$vector_min"
}

# missing prints what lacks of what the purpose in $1 needs, one word a line.
missing() {
	case $1 in
	quickstart) return 0 ;;
	emulator)
		have qemu-aarch64 || echo emulator
		return 0
		;;
	esac
	[ -n "$(server_bin)" ] || echo postgresql
	[ "$1" = test ] || return 0
	have_vector || echo pgvector
	have_compiler || echo compiler
	have_pgbouncer || echo pgbouncer
	have_faketime || echo faketime
}

# ---- installing -------------------------------------------------------------

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# logged runs a command quietly; its output is shown only if it fails.
logged() {
	if ! "$@" >"$log" 2>&1; then
		sed 's/^/    /' "$log" >&2
		return 1
	fi
}

# apt runs apt-get as root: it waits for another apt to finish, retries a bad
# network, and does not hang for ever.
apt() {
	as_root env DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -qq -y \
		-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
		-o Acquire::http::Timeout=60 -o Acquire::https::Timeout=60 "$@"
}

# apt_update waits for the lock on the lists, which apt-get itself does not. A
# third party's broken source is no reason to fail: the installation tells.
apt_update() {
	local try
	for try in 1 2 3 4 5 6; do
		if apt update >"$log" 2>&1; then return 0; fi
		grep -q 'Could not get lock' "$log" || break
		say "another apt is running, waiting (${try}/6)"
		sleep 10
	done
	say 'apt-get update had faults, going on with the lists at hand'
}

apt_install() { logged apt install --no-install-recommends --no-upgrade "$@"; }

# start_nothing keeps packages from starting services while they are installed.
start_nothing() {
	[ -e /usr/sbin/policy-rc.d ] && return 0
	policy=/usr/sbin/policy-rc.d
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
}

cleanup() {
	if [ -n "$policy" ]; then as_root rm -f "$policy"; fi
	if [ -n "$work" ]; then rm -rf "$work"; fi
}

install_postgresql() {
	say 'installing PostgreSQL (no cluster is created, no service started)'
	# The common package first: it makes no cluster, and brings the folder for
	# the setting that keeps the server package from making one.
	apt_install postgresql-common || return
	local setting=/etc/postgresql-common/createcluster.d/llmemory-setup.conf
	as_root mkdir -p "${setting%/*}"
	echo 'create_main_cluster = false' | as_root tee "$setting" >/dev/null
	local status=0
	apt_install postgresql || status=$?
	as_root rm -f "$setting" # the user's own later installations behave as ever
	return "$status"
}

install_pgbouncer() {
	say 'installing PgBouncer (its service stays off)'
	apt_install pgbouncer || return
	if have update-rc.d; then as_root update-rc.d pgbouncer disable >/dev/null 2>&1 || true; fi
}

install_vector() {
	local bin version candidate
	bin=$(server_bin)
	version=$(server_version "$bin")
	candidate=$(apt-cache policy "postgresql-$version-pgvector" 2>/dev/null | sed -n 's/^ *Candidate: //p')
	if at_least "${candidate/(none)/}" "$vector_min"; then
		say "installing pgvector $candidate for PostgreSQL $version"
		apt_install "postgresql-$version-pgvector"
	else
		say "building pgvector for PostgreSQL $version from Debian's source package"
		build_vector "$version" "$bin"
	fi
}

build_vector() {
	local version=$1 bin=$2 need=() tool
	have_compiler || need+=(gcc libc6-dev)
	have make || need+=(make)
	have dpkg-source || need+=(dpkg-dev)
	have xz || need+=(xz-utils)
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || need+=(debian-archive-keyring)
	[ ${#need[@]} = 0 ] || apt_install "${need[@]}"
	for tool in "$bin/pg_config" "$("$bin/pg_config" --pgxs)"; do
		[ -e "$tool" ] || fail "$tool is missing: this PostgreSQL is not Debian's; install pgvector $vector_min or newer for it"
	done
	mkdir "$work/vector"
	# The stages are commands of an && list on purpose: `set -e` does not reach
	# into a function whose status is tested.
	logged fetch_vector "$version" &&
		logged compile_vector "$version" "$bin" &&
		logged apt install --no-install-recommends "$work/vector/pgvector.deb"
}

# fetch_vector gets the source of pgvector and the server's headers. The lists
# of the source suite are private, so nothing of it can reach the system; the
# headers are only unpacked, as installing them would bring a compiler of
# 28 MB and upgrade, hence restart, a running server.
fetch_vector() {
	cd "$work/vector" || return
	mkdir -p lists/partial cache/archives/partial &&
		cat >vector.sources <<-END &&
			Types: deb-src
			URIs: $mirror
			Suites: $vector_suite
			Components: main
			Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
		END
		source_apt update && source_apt source --download-only pgvector &&
		dpkg-source -x pgvector_*.dsc source || return
	local installed
	installed=$(dpkg-query -W -f '${Version}' "postgresql-$1" 2>/dev/null) || installed=
	apt-get -qq download "postgresql-server-dev-$1=$installed" ||
		apt-get -qq download "postgresql-server-dev-$1" || return
	dpkg-deb -x "$(ls postgresql-server-dev-*.deb)" headers
}

source_apt() {
	timeout 600 apt-get -qq -o Acquire::Retries=3 -o Acquire::http::Timeout=60 \
		-o Dir::Etc::sourcelist="$PWD/vector.sources" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" "$@"
}

# compile_vector makes the package. OPTFLAGS="" leaves the compiler's baseline
# instruction set: the files may be used on another machine of this kind.
compile_vector() {
	cd "$work/vector" || return
	local headers=$PWD/headers/usr/include/postgresql/$1/server
	local arguments=(-s -C source PG_CONFIG="$2/pg_config" includedir_server="$headers" OPTFLAGS= with_llvm=no)
	make "${arguments[@]}" -j"$(nproc)" && make "${arguments[@]}" install DESTDIR="$PWD/package" || return
	rm -rf "package${PWD:?}" # headers for other extensions, under the folder above
	find package -type d -empty -delete
	mkdir package/DEBIAN &&
		cat >package/DEBIAN/control <<-END &&
			Package: postgresql-$1-pgvector
			Version: $(dpkg-parsechangelog -l source/debian/changelog -S Version)~local
			Architecture: $(dpkg --print-architecture)
			Depends: postgresql-$1
			Maintainer: local build <root@localhost>
			Description: vector similarity search for PostgreSQL $1
			 Built on this machine from Debian's source package by scripts/setup.sh of llmemory.
		END
		dpkg-deb --root-owner-group --build package pgvector.deb
}

# ---- main -------------------------------------------------------------------

[ $# = 1 ] || usage
case $1 in test | shell | emulator | quickstart) ;; *) usage ;; esac

have go || fail 'Go is missing: install the version that go.mod names, see https://go.dev/dl'
mapfile -t lacking < <(missing "$1")
[ ${#lacking[@]} != 0 ] || exit 0

hint=
[[ " ${lacking[*]} " != *' pgvector '* ]] || hint=" (pgvector $vector_min or newer)"
have apt-get || fail "missing: ${lacking[*]}. This is neither Debian nor Ubuntu: install it by hand$hint"
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
	fail "missing: ${lacking[*]}. Run \`sudo $0 $1\` once, or install it by hand$hint"
fi

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
work=$(mktemp -d)
chmod 755 "$work" # apt downloads as a user of its own
log=$work/log

say "missing: ${lacking[*]}"
apt_update
start_nothing
for thing in "${lacking[@]}"; do
	case $thing in
	compiler)
		say 'installing a C compiler'
		apt_install gcc libc6-dev
		;;
	postgresql) install_postgresql ;;
	pgvector) install_vector ;;
	pgbouncer) install_pgbouncer ;;
	faketime) apt_install libfaketime ;;
	emulator) apt_install qemu-user ;;
	esac || fail "could not install $thing"
done

mapfile -t lacking < <(missing "$1")
[ ${#lacking[@]} = 0 ] || fail "still missing after the installation: ${lacking[*]}"
say 'done'
