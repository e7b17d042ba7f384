#!/usr/bin/env bash
# get_data.sh shakespeare|tinystories|gpt2 [FOLDER]: downloads public data into FOLDER (data), and
# checks it; what is there already and right is left alone.
#   shakespeare  tinyshakespeare.txt, 1.1 MB (public domain; from char-rnn)
#   tinystories  tinystories_{train,valid}.txt, 2.2 GB and 22 MB (the GPT-4 part; CDLA-Sharing-1.0;
#                Eldan and Li 2023)
#   gpt2         gpt2/{encoder.json,vocab.bpe}, the vocabulary of GPT-2, 1.5 MB (MIT)
# SHAKESPEARE_URL, TINYSTORIES_URL and GPT2_URL may name mirrors.
set -euo pipefail

say() { echo "get_data: $*" >&2; }
die() {
  say "$*"
  exit 1
}

shakespeare=${SHAKESPEARE_URL:-https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare}
tinystories=${TINYSTORIES_URL:-https://huggingface.co/datasets/roneneldan/TinyStories}
gpt2=${GPT2_URL:-https://openaipublic.blob.core.windows.net/gpt-2/encodings/main}

# fetch URL FILE: all of it or nothing.
fetch() {
  curl --fail --silent --show-error --location --retry 2 --connect-timeout 20 -o "$2" "$1" ||
    die "$1 could not be downloaded. Without a network, get it on another machine and put it at $3"
}

# is FILE SIZE SHA256
is() {
  [ -f "$1" ] && [ "$(stat -c %s "$1")" = "$2" ] && echo "$3  $1" | sha256sum --check --status
}

# get URL FILE SIZE SHA256
get() {
  if is "$2" "$3" "$4"; then
    say "$2 is there"
    return
  fi
  say "$1 -> $2 ($3 bytes)"
  mkdir -p "$(dirname "$2")"
  fetch "$1" "$2.part" "$2"
  is "$2.part" "$3" "$4" ||
    die "$1 is not the file that it was: $(stat -c %s "$2.part") bytes, where $3 with sha256 $4 were expected; it is left in $2.part"
  mv "$2.part" "$2"
}

# get_stories train|valid: the publisher states size and hash in a file of three lines.
get_stories() {
  local name=TinyStoriesV2-GPT4-$1.txt file=$folder/tinystories_$1.txt pointer sha256 size
  pointer=$(mktemp)
  fetch "$tinystories/raw/main/$name" "$pointer" "$file"
  sha256=$(sed -n 's/^oid sha256:\([0-9a-f]\{64\}\)$/\1/p' "$pointer")
  size=$(sed -n 's/^size \([0-9]*\)$/\1/p' "$pointer")
  rm "$pointer"
  if [ -z "$sha256" ] || [ -z "$size" ]; then
    die "$tinystories/raw/main/$name does not state a size and a hash"
  fi
  get "$tinystories/resolve/main/$name" "$file" "$size" "$sha256"
}

name=${1-}
folder=${2-data}
command -v curl >/dev/null || die "curl is not installed"
case $name in
  shakespeare)
    get "$shakespeare/input.txt" "$folder/tinyshakespeare.txt" 1115394 \
      86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed
    ;;
  tinystories)
    get_stories train
    get_stories valid
    ;;
  gpt2)
    get "$gpt2/encoder.json" "$folder/gpt2/encoder.json" 1042301 \
      196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783
    get "$gpt2/vocab.bpe" "$folder/gpt2/vocab.bpe" 456318 \
      1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5
    ;;
  *) die "usage: tools/get_data.sh shakespeare|tinystories|gpt2 [FOLDER]" ;;
esac
