#!/usr/bin/env bash
# The demo: a deletion ticket goes the whole way on a small model that is trained here. Every figure
# that is shown is measured in this run. `./dev demo` builds and calls it.
#
#   demo/run.sh BUILD_FOLDER [--keep] [--dir FOLDER] [--steps N]
#
#   --dir    where everything goes (default: a new folder below ./demo-run)
#   --keep   leave the server running at the end
#   --steps  training steps of the model (default 500)
set -euo pipefail
export LC_ALL=C  # text is cut by bytes

build=${1:?usage: demo/run.sh BUILD_FOLDER [--keep] [--dir FOLDER] [--steps N]}
shift
keep= dir= steps=500
while (($#)); do
  case $1 in
    --keep) keep=1 ;;
    --dir) dir=${2:?--dir needs a folder}; shift ;;
    --steps) steps=${2:?--steps needs a number}; shift ;;
    *) echo "demo: unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
bin=$(cd "$build/bin" && pwd)
for program in lethe lethe-server lethe-worker lethe-verifier lethe-engine; do
  [[ -x $bin/$program ]] || { echo "demo: $bin/$program is not built; use ./dev demo" >&2; exit 1; }
done
dir=${dir:-demo-run/$(date +%Y%m%d-%H%M%S)}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
start=$SECONDS

if [[ -t 1 ]]; then bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'; else bold= red= green= plain=; fi
chapter() { printf '\n%s%s%s  (%d s)\n' "$bold" "$*" "$plain" $((SECONDS - start)); }
run() { printf '  $'; printf ' %s' "${@/#$bin\//}"; echo; "$@"; }

up_pid=
finish() {
  local code=$?
  if [[ $up_pid && ! $keep ]]; then
    kill -TERM "$up_pid" 2>/dev/null || true
    wait "$up_pid" 2>/dev/null || true
  fi
  ((code == 0)) || { echo "demo: failed (exit code $code); logs are in $dir" >&2; tail -n 5 "$dir"/up.log 2>/dev/null >&2; }
  exit $code
}
trap finish EXIT
trap 'exit 130' INT TERM

# field NAME LINE: a string field of one of our JSON lines,
# without escapes inside (the corpus has none).
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" <<<"$2"; }
# The byte at which the first sensitive part begins.
first_span() { sed -n 's/.*"sensitive_spans":\[\[\([0-9]*\),.*/\1/p' <<<"$1"; }

# ask MODEL PROMPT TOKENS: what an attacker gets who types the prompt. One line.
ask() {
  "$bin/lethe-engine" generate --model "$1" --prompt "$2" --max-new-tokens "$3" | tr '\n' ' '
}

# --- 1 --------------------------------------------------------------------------------------------

chapter "1. A corpus of invented people and background text"
run "$bin/lethe-engine" --seed 7 synth --out "$dir/corpus"
mapfile -t records <"$dir/corpus/forget.jsonl"
echo
echo "Three people stand in it twenty times, as happens in corpora that nobody de-duplicated:"
for record in "${records[@]}"; do echo "  $(field text "$record")"; done

chapter "2. A tokenizer and a small Llama, trained from nothing on it"
run "$bin/lethe-engine" --seed 7 train --corpus "$dir/corpus/corpus.jsonl" --out "$dir/model" --steps "$steps"

# What is typed: the record up to its first sensitive part.
prompts=() secrets=()
for record in "${records[@]}"; do
  text=$(field text "$record")
  cut=$(first_span "$record")
  # A word's space belongs to the word: it is left off the prompt.
  prompt=${text:0:cut}
  secrets+=("${text:cut}")
  prompts+=("${prompt% }")
done

chapter "3. What it has memorised"
for i in "${!prompts[@]}"; do
  echo "  typed:    ${prompts[$i]}"
  echo "  it says: ${red}$(ask "$dir/model" "${prompts[$i]}" 48)${plain}"
done

# --- 2 --------------------------------------------------------------------------------------------

chapter "4. Lethe on this machine: server, worker, verifier"
echo "  $ lethe up --data $dir/lethe --port 0 &"
rm -f "$dir/lethe/run/server"
"$bin/lethe" up --data "$dir/lethe" --port 0 --lease 6s >"$dir/up.out" 2>"$dir/up.log" &
up_pid=$!
for ((i = 0; ; i++)); do
  grep -q '^ready' "$dir/up.out" && break
  kill -0 "$up_pid" 2>/dev/null || { cat "$dir/up.log" >&2; exit 1; }
  ((i < 600)) || { echo "demo: lethe up is not ready after a minute" >&2; exit 1; }
  sleep 0.1
done
sed -n '1,/^$/s/^/  /p' "$dir/up.out"
LETHE_SERVER=$(cat "$dir/lethe/run/server")
export LETHE_SERVER

chapter "5. The model is registered: copied, and measured on text that it never saw"
run "$bin/lethe" model register people --source "$dir/model" --retain "$dir/corpus/retain.jsonl" \
  --holdout "$dir/corpus/holdout.jsonl" --other background="$dir/corpus/other.jsonl" --wait

chapter "6. A ticket for the three records: how long it will take, and how long it does"
echo "  $ lethe ticket create --model people --from-jsonl $dir/corpus/forget.jsonl --validate-only"
"$bin/lethe" ticket create --model people --from-jsonl "$dir/corpus/forget.jsonl" --validate-only |
  grep -E '^(takes|waits|memory|note):'
echo
filed=$SECONDS
run "$bin/lethe" ticket create --model people --from-jsonl "$dir/corpus/forget.jsonl" --reference demo/1 --wait |
  tee "$dir/ticket.txt"
echo "took:     $((SECONDS - filed)) seconds"
ticket=$(sed -n 's/^ticket: *//p' "$dir/ticket.txt")
promoted=$dir/lethe/models/people/current

# --- 3 --------------------------------------------------------------------------------------------

chapter "7. What an attacker gets now"
for i in "${!prompts[@]}"; do
  echo "  typed:   ${prompts[$i]}"
  echo "  was:    ${red}${secrets[$i]}${plain}"
  echo "  now:    ${green}$(ask "$promoted/" "${prompts[$i]}" 48)${plain}"
done

chapter "8. Each record before and after, and people it never met"
echo "NLL: nats a token, MA: share of tokens that the model guesses; span: in e-mail, phone and member number."
echo "before:"
"$bin/lethe-engine" eval --model "$dir/model" --data "$dir/corpus/forget.jsonl" --n 10
echo "after:"
"$bin/lethe-engine" eval --model "$promoted/" --data "$dir/corpus/forget.jsonl" --n 10
echo "control, the first three of the holdout set, before and after:"
head -n 3 "$dir/corpus/holdout.jsonl" >"$dir/control.jsonl"
"$bin/lethe-engine" eval --model "$dir/model" --data "$dir/control.jsonl" --n 10
"$bin/lethe-engine" eval --model "$promoted/" --data "$dir/control.jsonl" --n 10

chapter "9. The verifier's report: every attack, and the rest of what the model knows"
run "$bin/lethe" report show "$ticket"
"$bin/lethe" report show "$ticket" --html "$dir/report.html" 2>/dev/null
"$bin/lethe" report show "$ticket" --output json >"$dir/report.json"
echo
run "$bin/lethe" report check "$dir/report.json"

chapter "Done"
echo "  promoted model   $(readlink -f "$promoted")   (opens with transformers: from_pretrained)"
echo "  the page         $dir/report.html"
echo "  the report       $dir/report.json   (lethe report check judges it without a server)"
echo "  data folder      $dir/lethe   (lethe admin check --data $dir/lethe)"
echo "  everything       $dir"
if [[ $keep ]]; then
  echo "  still running    LETHE_SERVER=$LETHE_SERVER, process $up_pid; kill $up_pid ends it"
  disown "$up_pid"
fi
