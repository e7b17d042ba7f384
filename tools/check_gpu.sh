#!/usr/bin/env bash
# check_gpu.sh [PART...]: what tools/test.sh cannot run on a machine without a GPU. Builds with CUDA
# and runs every test that uses one, then these tests again under compute-sanitizer, each case in a
# process of its own, on all GPUs in turn. Ends with a line for each part, and the logs of what failed
# or was reported. PARTs: tests memcheck racecheck initcheck synccheck (all if none is given).
# initcheck does not see what bulk copies store: that it reports reads of bf16 matrix products, which
# cuBLAS stores so, says nothing.
# SCANGRAD_JOBS: how many processes at a time; left out, one for each core.
set -euo pipefail
cd "$(dirname "$0")/.."
processes=${SCANGRAD_JOBS:-$(nproc)}
parts=("$@")
[ $# -gt 0 ] || parts=(tests memcheck racecheck initcheck synccheck)
for part in "${parts[@]}"; do
  [[ $part =~ ^(tests|memcheck|racecheck|initcheck|synccheck)$ ]] || {
    echo "check_gpu.sh: there is no part '$part'" >&2
    exit 2
  }
done

if ! nvidia-smi -L; then
  echo "check_gpu.sh: there is no NVIDIA GPU that can be used" >&2
  exit 1
fi
cmake --preset cuda
cmake --build --preset cuda --parallel "$processes"
programs=$PWD/build-cuda/tests
logs=$PWD/build-cuda/sanitizer
visible=${CUDA_VISIBLE_DEVICES:-$(nvidia-smi --query-gpu=index --format=csv,noheader)}
mapfile -t gpus < <(tr , '\n' <<< "$visible")

# cases PROGRAM FILE: the test cases of a file, as Catch2 takes their names for filters.
cases() {
  local list=(--list-tests --verbosity quiet)
  [[ $("$programs/$1" --libidentify) != *" 2."* ]] || list=(--list-test-names-only)
  # Version 2 returns how many there are; none is an error.
  { "$programs/$1" --filenames-as-tags "[#$2]" "${list[@]}" || true; } |
    sed 's/[\\,[]/\\&/g' | grep .
}

# What is run under a tool, a line each: LABEL PROGRAM OPERATIONS FILTER. Every case of the tests
# that ctest knows to use a GPU; of the table of operations, every case is a share of its rows.
runs() {
  local tests folder file names filter number shares=64
  tests=$(ctest --preset cuda -N -L gpu | sed -n '/test_op_matrix/!s/^ *Test *#[0-9]*: //p')
  while IFS=/ read -r folder file; do
    number=0
    names=$(cases "test_$folder" "$file")
    while IFS= read -r filter; do
      echo "$file.$((number++)) test_$folder none $filter"
    done <<< "$names"
  done <<< "$tests"
  for ((number = 0; number < shares; ++number)); do
    echo "test_op_matrix.$number test_ops $number/$shares each row of the table*"
  done
}

# sanitize TOOL GPU LABEL PROGRAM OPERATIONS FILTER
sanitize() {
  local options=(--tool "$1" --print-limit 10)
  # The tests of running out of memory ask the driver for refusals.
  [ "$1" != memcheck ] || options+=(--report-api-errors no)
  # Told of none or of 16, it loses count of the barriers in blocks' shared memory, as it says itself,
  # and stops warps that wait at one it does not know.
  [ "$1" != synccheck ] || options+=(--num-cuda-barriers 1024)
  mkdir "$logs/$1/$3"
  cd "$logs/$1/$3" # tests write where they run
  CUDA_VISIBLE_DEVICES=$2 SCANGRAD_OPS=$5 SCANGRAD_COMPUTE_SANITIZER=1 OMP_NUM_THREADS=1 \
    compute-sanitizer "${options[@]}" "$programs/$4" "$6" > "../$3.log" 2>&1
}

# verdict LOG: a case that starts no kernel, and passes, is idle.
verdict() {
  if ! grep -q 'All tests passed' "$1"; then echo failed
  elif grep -q 'SUMMARY: 0 ' "$1"; then echo clean
  elif grep -q 'before first instrumented API call' "$1"; then echo idle
  else echo reported; fi
}

mkdir -p "$logs"
runs > "$logs/runs"
summary=() failed=0
for part in "${parts[@]}"; do
  start=$SECONDS number=0 dirty=()
  if [ "$part" = tests ]; then
    result=passed
    ctest --preset cuda -L gpu || { result=FAILED && failed=1; }
    summary+=("tests: $result, $((SECONDS - start)) s")
    continue
  fi
  rm -rf "${logs:?}/$part"
  mkdir -p "$logs/$part"
  while read -r label program operations filter; do
    while [ "$(jobs -rp | wc -l)" -ge "$processes" ]; do wait -n || true; done
    gpu=${gpus[number++ % ${#gpus[@]}]}
    sanitize "$part" "$gpu" "$label" "$program" "$operations" "$filter" &
  done < "$logs/runs"
  wait
  declare -A count=([clean]=0 [idle]=0 [reported]=0 [failed]=0)
  for log in "$logs/$part"/*.log; do
    result=$(verdict "$log")
    count[$result]=$((count[$result] + 1))
    [[ $result =~ clean|idle ]] || dirty+=("  $result: $log")
  done
  [ ${#dirty[@]} -eq 0 ] || failed=1
  summary+=("$part: ${count[clean]} clean, ${count[idle]} without kernels, ${count[reported]} \
reported, ${count[failed]} failed, $((SECONDS - start)) s" "${dirty[@]}")
done
printf '%s\n' "" "${summary[@]}"
exit $failed
