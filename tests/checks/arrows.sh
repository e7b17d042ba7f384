#!/usr/bin/env bash
# arrows.sh ROOT
#
# Reads every #include of the tree under ROOT and fails where one breaks the layout:
#   tools -> train -> models -> ops -> autograd -> core, downward only;
#   cuda/ reads the table of kernels (ops/*.h, ops/*.def) and core, and only cuda/ reads cuda/;
#   a public header includes no fmt, JSON or CUDA, so that consumers need none of them. A header that
#   says `// Internal: ...` is not public, nor installed, and no public header includes it;
#   project files are included as <scangrad/...>, as consumers include them.
set -euo pipefail
cd "$1"

internal=$({ grep -rl --include='*.h' '^// Internal:' core autograd ops models train || true; } 2>/dev/null)

{ find core autograd ops cuda models train tools tests examples \
  -regex '.*\.\(h\|cpp\|cu\|cuh\|def\|inc\)' -type f 2>/dev/null || true; } | sort |
  xargs -r grep -HnE '^[[:space:]]*#[[:space:]]*include' |
  awk -v internal="$internal" '
  BEGIN {
    count = split(internal, file_names, "\n")
    for (i = 1; i <= count; ++i) is_internal[file_names[i]] = 1
    count = split("core autograd ops models train tools", order)
    for (i = 1; i <= count; ++i) level[order[i]] = i
  }
  function complain(why) {
    printf "%s:%s: #include %s: %s\n", file, line, included, why
    failed = 1
  }
  {
    split($0, part, ":")
    file = part[1]
    line = part[2]
    folder = file
    sub("/.*", "", folder)
    included = $0
    sub(/^[^<"]*#[ \t]*include[ \t]*/, "", included)
    sub(/[ \t]*(\/[\/*].*)?$/, "", included)

    if (included ~ /^"/) complain("write <scangrad/...>")
    # The CUDA C++ standard library is in cuda/, too, and its headers have no extension.
    if (included ~ /^<(core|autograd|ops|cuda|models|train|tools|tests)\/.*\./)
      complain("write <scangrad/...>")

    public = file ~ /\.(h|def)$/ && (folder in level) && folder != "tools" &&
             file !~ /^ops\/cpu\// && !(file in is_internal)
    if (public && included ~ /^<(fmt|nlohmann|CLI|cuda|cublas|cub\/)/)
      complain("a public header includes no fmt, JSON, CLI11 or CUDA")

    if (included !~ /^<scangrad\//) next
    target = included
    gsub(/^<scangrad\/|>$/, "", target)
    if (public && (target in is_internal || target ~ /^ops\/cpu\//))
      complain("a public header includes no internal header")
    sub(/\/.*/, "", target)

    if (target == "cuda" && folder != "cuda" && folder != "tests")
      complain("only cuda/ includes cuda/")
    if (target == "tests" && folder != "tests") complain("only tests include tests")
    if (folder == "cuda" && (target in level) && (level[target] > level["ops"] || target == "autograd"))
      complain("cuda/ includes ops and core only")
    if ((folder in level) && (target in level) && level[target] > level[folder])
      complain(folder "/ must not include " target "/: dependencies point down, to core")
  }
  END { exit failed }'
