#!/usr/bin/env bash
# The life of an identifier in a wallet of its own, from nothing to a signature that anybody can
# verify. Everything happens in a temporary folder and is removed at the end.
set -euo pipefail

PATH="$PATH:$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
here=$(mktemp -d)
export KEYSTEAD_HOME="$here/wallet" KEYSTEAD_STATE="$here/state"
trap 'keystead lock >/dev/null 2>&1 || true; rm -rf "$here"' EXIT
cd "$here"

run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# A person is asked for a passphrase, or gets one; a script has a file.
(umask 077 && head -c 24 /dev/urandom | base64 >passphrase)
echo 'I owe Bob 10 euros.' >note.txt

run keystead init --passphrase-file passphrase
run keystead unlock --passphrase-file passphrase
run keystead id create alice
run keystead sign note.txt --as alice
run keystead id rotate alice --reason 'the first keys are old'
run keystead id export alice -o alice.cesr
printf '\nBob has the note, its signature and the log of alice, and no wallet:'
run keystead verify note.txt --log alice.cesr
run keystead log verify alice.cesr
run keystead doctor
printf '\nAll of this was in %s and is removed now.\n' "$here"
