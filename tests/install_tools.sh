#!/usr/bin/env bash
# Installs what tests need beside Python: a software token, a tracer of system calls, libsodium for
# the peer. Where it may not install, it tells what is missing and fails.
set -euo pipefail

missing=()
command -v softhsm2-util >/dev/null || missing+=(softhsm2)
command -v strace >/dev/null || missing+=(strace)
ldconfig -p 2>/dev/null | grep -q 'libsodium\.so' || missing+=(libsodium23)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "keystead: error: the tests need: ${missing[*]} (names of Debian packages)" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
fi
echo "installing for the tests: ${missing[*]}" >&2
if ! "${as_root[@]}" apt-get update -qq || ! "${as_root[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null; then
  echo "keystead: error: the tests need: apt-get install ${missing[*]}" >&2
  exit 1
fi
