#!/usr/bin/env bash
# check_all.sh: what tools/test.sh leaves out for time: ThreadSanitizer, and the other compiler.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${SCANGRAD_JOBS:-$(nproc)}

tools/packages.sh build test check

for preset in tsan clang; do
  cmake --preset $preset
  cmake --build --preset $preset --parallel "$jobs"
  ctest --preset $preset --parallel "$jobs"
done
