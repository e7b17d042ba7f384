#!/usr/bin/env bash
# scripts.sh ROOT: shellcheck finds nothing in our scripts. 77 (skipped) where it is not installed.
set -euo pipefail
cd "$1"

if ! command -v shellcheck >/dev/null; then
  echo "shellcheck is not installed: scripts not checked"
  exit 77
fi
shellcheck -x tools/*.sh tests/checks/*.sh .ci/run
