#!/usr/bin/env bash
# quickstart.sh: on a fresh Debian 12 or Ubuntu 24.04, installs the missing distribution packages,
# builds scangrad in build/, and runs its main job: three models on the S3 word problem, at most three
# minutes on two cores. Arguments go to `scangrad compare`.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/packages.sh build
cmake --preset cpu -DSCANGRAD_TESTS=OFF
cmake --build build
exec build/scangrad compare --preset state-tracking "$@"
