#!/usr/bin/env bash
# test.sh: installs what is missing, builds and runs every test. Two builds: one with sanitizers runs
# the tests; one as released, where warnings are errors, runs them too, with the checks of the tree,
# the projects that use scangrad, and the commands and code of the documents.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${SCANGRAD_JOBS:-$(nproc)}

tools/packages.sh build test

for preset in asan release; do
  cmake --preset $preset
  cmake --build --preset $preset --parallel "$jobs"
  ctest --preset $preset --parallel "$jobs"
done
