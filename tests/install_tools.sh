#!/usr/bin/env bash
# Installs what tests need beside Python: a software token, a tracer of system calls, libsodium for
# the peer. Where it may not install, it tells what is missing and fails.
# A database server is only unpacked, never installed: its packages would make a user and start it.
set -euo pipefail

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
fi

install_packages() {
  local missing=()
  command -v softhsm2-util >/dev/null || missing+=(softhsm2)
  command -v strace >/dev/null || missing+=(strace)
  ldconfig -p 2>/dev/null | grep -q 'libsodium\.so' || missing+=(libsodium23)
  if [ ${#missing[@]} -eq 0 ]; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "keystead: error: the tests need: ${missing[*]} (names of Debian packages)" >&2
    exit 1
  fi
  echo "installing for the tests: ${missing[*]}" >&2
  if ! "${as_root[@]}" apt-get update -qq || ! "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null; then
    echo "keystead: error: the tests need: apt-get install ${missing[*]}" >&2
    exit 1
  fi
}

# Where tests/support/postgres.py looks. It runs under a user without rights, who must get there.
if [ "$(id -u)" -eq 0 ]; then
  unpacked=/var/cache/keystead-postgres
else
  unpacked=${XDG_CACHE_HOME:-$HOME/.cache}/keystead-postgres
fi
unpacked=${KEYSTEAD_UNPACK_POSTGRES:-$unpacked} # set: unpack it there, whatever is installed

has_postgres() {
  [ -n "${KEYSTEAD_POSTGRES:-}" ] && return 0
  compgen -G "$unpacked/usr/lib/postgresql/*/bin/initdb" >/dev/null && return 0
  [ -n "${KEYSTEAD_UNPACK_POSTGRES:-}" ] && return 1
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null
}

unpack_postgres() {
  local partial server packages
  if has_postgres; then
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "keystead: error: the tests need a PostgreSQL server; name its folder bin in KEYSTEAD_POSTGRES" >&2
    exit 1
  fi
  echo "unpacking PostgreSQL for the tests: $unpacked" >&2
  "${as_root[@]}" apt-get update -qq
  server=$(apt-cache depends postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9][0-9]*\)$/\1/p' | head -n 1)
  # What an installation would bring along; but no package is installed, and no script of one runs.
  packages=$(apt-get install --simulate --no-install-recommends "$server" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
  mkdir -p "$(dirname "$unpacked")"
  partial=$(mktemp -d "$unpacked.XXXXXX")
  (
    cd "$partial"
    # shellcheck disable=SC2086 # names of packages
    apt-get download -qq "$server" "${server/-/-client-}" libpq5 $packages
    for package in *.deb; do
      dpkg -x "$package" .
    done
    rm -- *.deb
  )
  chmod 755 "$partial"
  rm -rf "$unpacked"
  mv "$partial" "$unpacked"
}

install_packages
unpack_postgres
