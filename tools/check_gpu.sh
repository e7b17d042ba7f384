#!/usr/bin/env bash
# check_gpu.sh [PART...]: what tools/test.sh cannot run on a machine without a GPU. Builds with CUDA
# and runs every test that uses one, then those of its kernels under compute-sanitizer. Ends with a
# line for each part. PARTs: tests memcheck racecheck initcheck synccheck (all if none is given).
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${SCANGRAD_JOBS:-$(nproc)}
parts=("$@")
[ $# -gt 0 ] || parts=(tests memcheck racecheck initcheck synccheck)

if ! nvidia-smi -L; then
  echo "check_gpu.sh: there is no NVIDIA GPU that can be used" >&2
  exit 1
fi
cmake --preset cuda
cmake --build --preset cuda --parallel "$jobs"

# The test programs, by the files whose kernels are worth watching. memcheck must not count the
# refusals of the driver that the tests of running out of memory ask for.
sanitized() {
  local common=(compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 10)
  [ "$1" != memcheck ] || common+=(--report-api-errors no --leak-check no)
  cd build-cuda/tests &&
    "${common[@]}" ./test_cuda &&
    "${common[@]}" ./test_core --filenames-as-tags '[#test_graph_capture]' &&
    "${common[@]}" ./test_models --filenames-as-tags '[#test_parity]' &&
    "${common[@]}" ./test_ops --filenames-as-tags '[#test_op_matrix]'
}

summary=()
failed=0
for part in "${parts[@]}"; do
  start=$SECONDS
  result=passed
  if [ "$part" = tests ]; then
    ctest --preset cuda -L gpu || result=FAILED
  else
    (sanitized "$part") || result=FAILED
  fi
  [ $result = passed ] || failed=1
  summary+=("$part: $result, $((SECONDS - start)) s")
done
printf '%s\n' "" "${summary[@]}"
exit $failed
