#!/usr/bin/env bash
# get_data.sh ROOT: tools/get_data.sh keeps what is right, refuses what is not, and says what to do
# without a network. Its sources are a folder here, so that nothing is downloaded. 77 (skipped)
# where curl is not installed.
set -euo pipefail
script=$1/tools/get_data.sh

command -v curl >/dev/null || {
  echo "curl is not installed: tools/get_data.sh not checked"
  exit 77
}
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
cd "$top"

# expect STATUS SENTENCE COMMAND...
expect() {
  local status=$1 sentence=$2 found=0
  shift 2
  "$@" >out 2>&1 || found=$?
  if [ "$found" != "$status" ] || ! grep -qF "$sentence" out; then
    echo "$*: status $found, expected $status and '$sentence':"
    cat out
    exit 1
  fi
}

expect 1 "usage: " "$script"
expect 1 "usage: " "$script" wikipedia
export SHAKESPEARE_URL=file://$top/source TINYSTORIES_URL=file://$top/source
expect 1 "could not be downloaded. Without a network" "$script" shakespeare

mkdir -p source/raw/main source/resolve/main
echo "To be" >source/input.txt
expect 1 "is not the file that it was: 6 bytes, where 1115394" "$script" shakespeare
[ ! -e data/tinyshakespeare.txt ]

for part in train valid; do
  name=TinyStoriesV2-GPT4-$part.txt
  echo "Once upon a time, $part" >"source/resolve/main/$name"
  printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %s\n' \
    "$(sha256sum "source/resolve/main/$name" | cut -d' ' -f1)" \
    "$(stat -c %s "source/resolve/main/$name")" >"source/raw/main/$name"
done
expect 0 "(24 bytes)" "$script" tinystories elsewhere
cmp elsewhere/tinystories_train.txt source/resolve/main/TinyStoriesV2-GPT4-train.txt
cmp elsewhere/tinystories_valid.txt source/resolve/main/TinyStoriesV2-GPT4-valid.txt
expect 0 "elsewhere/tinystories_train.txt is there" "$script" tinystories elsewhere

# Changed on its way, at the same length.
echo "Once upon a tide, train" >source/resolve/main/TinyStoriesV2-GPT4-train.txt
echo "spoiled" >elsewhere/tinystories_train.txt
expect 1 "is not the file that it was" "$script" tinystories elsewhere
[ "$(cat elsewhere/tinystories_train.txt)" = spoiled ]
echo "<html>" >source/raw/main/TinyStoriesV2-GPT4-train.txt
expect 1 "does not state a size and a hash" "$script" tinystories elsewhere
