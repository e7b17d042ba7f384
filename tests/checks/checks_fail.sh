#!/usr/bin/env bash
# checks_fail.sh ROOT: the checks of this folder pass on a good tree and fail on each planted fault.
# A check that cannot fail protects nothing.
set -euo pipefail
checks=$1/tests/checks
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

# expect STATUS COMMAND...: runs it and compares its exit status, 0 for success and 1 for any failure.
expect() {
  local wanted=$1 status=0
  shift
  "$@" >"$tree/output" 2>&1 || status=1
  if [ "$status" != "$wanted" ]; then
    echo "exit status $status, not $wanted: $*"
    cat "$tree/output"
    failed=1
  fi
}

# plant FILE INCLUDE STATUS: a file with one include, which arrows.sh accepts (0) or refuses (1).
plant() {
  mkdir -p "$tree/$(dirname "$1")"
  echo "#include $2" >"$tree/$1"
  expect "$3" "$checks/arrows.sh" "$tree"
  if [ "$3" = 1 ] && ! grep -q "^$1:1: " "$tree/output"; then
    echo "the complaint does not name $1:1"
    failed=1
  fi
  rm "$tree/$1"
}

plant train/a.cpp '<scangrad/models/b.h>' 0
plant tools/a.cpp '<scangrad/train/b.h>' 0
plant core/a.cpp '<fmt/format.h>' 0
plant cuda/a.cu '<scangrad/ops/functors.h>' 0
plant cuda/a.cuh '<cuda/barrier>' 0
plant tests/ops/a.cpp '<scangrad/tests/support/catch.h>' 0
plant core/a.h '<scangrad/ops/b.h>' 1
plant autograd/a.cpp '<scangrad/ops/b.h>' 1
plant models/a.cpp '<scangrad/train/b.h>' 1
plant train/a.cpp '<scangrad/tools/b.h>' 1
plant ops/a.cpp '<scangrad/cuda/b.h>' 1
plant tools/a.cpp '<scangrad/cuda/b.h>' 1
plant cuda/a.cu '<scangrad/autograd/b.h>' 1
plant cuda/a.cu '<scangrad/models/b.h>' 1
plant ops/a.h '<scangrad/ops/cpu/level.h>' 1
plant core/a.cpp '<scangrad/tests/support/catch.h>' 1
plant core/a.cpp '"core/b.h"' 1
plant core/a.cpp '"b.h"  // beside it' 1
plant core/a.cpp '<core/b.h>' 1
plant train/a.h '<nlohmann/json.hpp>' 1
plant core/a.h '  <fmt/format.h>' 1
plant core/a.h '<cuda_runtime.h>' 1
plant core/a.h '<cuda/barrier>' 1
plant cuda/a.cu '<cuda/b.cuh>' 1

# An internal header may include fmt, and no public header may include it.
mkdir -p "$tree/core"
printf '// Internal: formatting.\n#include <fmt/format.h>\n' >"$tree/core/format.h"
plant ops/a.cpp '<scangrad/core/format.h>' 0
plant ops/a.h '<scangrad/core/format.h>' 1

# Kernels of a level that export more than fill_kernels: here an inline function of the same library.
cat >"$tree/kernels.cpp" <<'END'
namespace scangrad {
struct Kernels {};
#ifdef LEAK
inline int leak(int x) { return x + 1; }
int (*address)(int) = leak;
#endif
namespace cpu_v3 {
void fill_kernels(Kernels&) {}
}
}
END
compiler=${CXX:-c++}
"$compiler" -c "$tree/kernels.cpp" -o "$tree/cpu_v3.o"
expect 0 "$checks/cpu_levels.sh" "$tree/cpu_v3.o"
"$compiler" -DLEAK -c "$tree/kernels.cpp" -o "$tree/cpu_v3.o"
expect 1 "$checks/cpu_levels.sh" "$tree/cpu_v3.o"
cp "$tree/cpu_v3.o" "$tree/cpu_v4.o"
expect 1 "$checks/cpu_levels.sh" "$tree/cpu_v4.o"

# Format: only where the check itself can run.
mkdir -p "$tree/core"
cp "$1/.clang-format" "$tree"
echo 'int  a ;' >"$tree/core/a.cpp"
expect 1 "$checks/format.sh" "$tree"

exit $failed
