# shellcheck shell=sh
# What every script here shares: where the repository is, its virtual environment, how it speaks.
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
VENV=${VENV:-$ROOT/.venv}
export ROOT VENV
PATH=$VENV/bin:$PATH
export PATH
cd "$ROOT" || exit 1

say() { printf '==> %s\n' "$*"; }
die() { printf 'fenton: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# Run a long, silent command; while it is silent, say every 15 seconds that it is still at work, and show its output only if it fails.
quietly() {
  what=$1; shift
  log=$(mktemp); started=$(date +%s)
  say "$what"
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  ticks=0
  while kill -0 "$pid" 2>/dev/null; do
    sleep 0.2; ticks=$((ticks + 1))
    [ $((ticks % 75)) -eq 0 ] && printf '    … still at it after %s s: %s\n' "$(($(date +%s) - started))" "$(tail -n 1 "$log" | cut -c1-100)"
  done
  rc=0; wait "$pid" || rc=$?
  [ "$rc" -eq 0 ] || { cat "$log" >&2; printf 'fenton: "%s" failed with exit status %s (its output is above)\n' "$what" "$rc" >&2; }
  rm -f "$log"
  return "$rc"
}
