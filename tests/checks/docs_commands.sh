#!/usr/bin/env bash
# docs_commands.sh PROGRAM DOCUMENT...
#
# Runs the commands of Markdown documents that call scangrad (lines of their ```sh blocks that begin
# with `scangrad` or `build/scangrad`), in order, in a folder of their own: what a reader types works.
# Training stops after two steps, measurements after a moment, and a text that the reader is to bring
# (--data) is made up.
set -euo pipefail
program=$1
shift

top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
folder=$top/home/scangrad # two levels down, for documents that say ../data/text.txt
mkdir -p "$folder/build"

# In the program's place, a script that shortens what the program is asked to do.
cat >"$folder/build/scangrad" <<END
#!/usr/bin/env bash
set -euo pipefail
arguments=()
while [ \$# -gt 0 ]; do
  case \$1 in
    --steps | --budget) shift ;;
    --data)
      arguments+=(--data "\$2")
      if [ ! -e "\$2" ]; then
        mkdir -p "\$(dirname "\$2")"
        for _ in {1..4000}; do echo {A..Z} {a..z} {0..9} "To be, or not to be? -- 'tis: the; (end)!"; done >"\$2"
      fi
      shift
      ;;
    *) arguments+=("\$1") ;;
  esac
  shift
done
case \${arguments[0]-} in
  train | compare | sweep) arguments+=(--steps 2) ;;
  bench) arguments+=(--budget 1) ;;
esac
exec "$program" "\${arguments[@]}"
END
chmod +x "$folder/build/scangrad"

commands=$(awk '
  /^```/ { inside = ($0 == "```sh"); next }
  inside {
    line = line $0
    if (sub(/\\$/, "", line)) next
    if (line ~ /^(build\/)?scangrad /) print line
    line = ""
  }' "$@")
if [ -z "$commands" ]; then
  echo "no document calls scangrad in an sh block: $*"
  exit 1
fi

cd "$folder"
while read -r command; do
  echo "+ $command"
  PATH="$folder/build:$PATH" bash -c "$command" </dev/null
done <<<"$commands"
