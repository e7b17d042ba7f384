#!/usr/bin/env bash
# cpu_levels.sh OBJECT...    (cpu_v2.o, cpu_v3.o: the kernels of one x86-64 level each)
#
# The kernels of a level export scangrad::cpu_LEVEL::fill_kernels and nothing else. Any other symbol,
# above all a weak one (an inline function, a template), could be taken by the linker for the whole
# program, which then stops with an illegal instruction on an older CPU.
set -euo pipefail

failed=0
for object in "$@"; do
  level=$(basename "$object" .o)
  exported=$(nm -C --defined-only "$object" | awk '$2 ~ /[A-Zuvw]/')
  others=$(grep -v " T scangrad::$level::fill_kernels(" <<<"$exported" || true)
  if [ -z "$exported" ]; then
    echo "$object exports nothing: fill_kernels is missing"
    failed=1
  elif [ -n "$others" ]; then
    printf '%s exports more than fill_kernels:\n%s\n' "$object" "$others"
    failed=1
  fi
done
exit $failed
