#!/usr/bin/env bash
# extract_samples.sh OUT_DIR DOCUMENT...: writes the C++ samples of Markdown documents as programs.
#
# Each block that opens with ```cpp becomes OUT_DIR/<document>_<line>.cpp (```c++ marks a fragment
# that is not compiled). A sample without main() is statements: its #include lines, namespace aliases
# and using-directives stay at the top and the rest goes into main(). Compiler messages name the
# document and its line.
set -euo pipefail
out=$1
shift
rm -rf "$out"
mkdir -p "$out"

for document in "$@"; do
  awk -v document="$document" -v prefix="$out/$(basename "$document" .md)_" '
  /^```/ && inside {
    print (has_main ? all : top "int main() {\n" statements "}") >program
    close(program)
    inside = 0
    next
  }
  /^```cpp$/ {
    inside = 1
    has_main = 0
    all = top = statements = ""
    program = prefix FNR ".cpp"
    next
  }
  inside {
    line = "#line " FNR " \"" document "\"\n" $0 "\n"
    all = all line
    if (/^(#|namespace [a-z_]+ = |using namespace )/) top = top line
    else statements = statements line
    if (/^int main\(/) has_main = 1
  }' "$document"
done
