#!/usr/bin/env bash
# packages.sh PACKAGE...: installs those of the Debian or Ubuntu packages that are missing, as root or
# through sudo. Names of groups stand for what they need: build (library and program), test, check.
set -euo pipefail

# OpenBLAS in either threading build; the OpenMP one shares its threads with scangrad's own loops.
blas=libopenblas-openmp-dev
build=(g++ cmake ninja-build libfmt-dev nlohmann-json3-dev libcli11-dev curl ca-certificates)
test=(catch2 clang-format-14 shellcheck)
check=(clang libomp-dev)

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

wanted=()
for name in "$@"; do
  case $name in
    build)
      wanted+=("${build[@]}")
      installed libopenblas-pthread-dev || wanted+=("$blas")
      ;;
    test) wanted+=("${test[@]}") ;;
    check) wanted+=("${check[@]}") ;;
    *) wanted+=("$name") ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "packages: no apt-get here; going on with what is installed. On Debian it is: ${wanted[*]}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} = 0 ]; then
  exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "packages: neither root nor sudo here: ask an administrator to install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
echo "packages: installing ${missing[*]}" >&2
"${as_root[@]}" apt-get update -q
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -q -y --no-install-recommends "${missing[@]}"
