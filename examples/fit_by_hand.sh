#!/usr/bin/env bash
# fit() written by hand with curl and jq: the shell loops, the server differentiates.
#
# bash examples/fit_by_hand.sh [http://127.0.0.1:8080] [steps]
#
# A server that asks for a key gets that of TRAINYARD_API_KEY.
set -euo pipefail

server=${1:-http://127.0.0.1:8080}
steps=${2:-1000}
curl=(curl -sSf ${TRAINYARD_API_KEY:+-H "authorization: Bearer $TRAINYARD_API_KEY"})
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The table as x (n, 13), each column with mean 0 and deviation 1, and y (n, 1).
jq -cRs '
  def standardized: (add / length) as $mean | map(. - $mean) | (map(. * .) | add / length | sqrt) as $deviation | map(. / $deviation);
  [split("\n")[1:][] | select(. != "") | split(",") | map(tonumber)]
  | {x: (transpose[:-1] | map(standardized) | transpose), y: map(.[-1:])}
' "$(dirname "$0")/data/housing.csv" > "$folder/batch.json"

hidden='{"type": "dense", "units": 20, "activation": "swish"}'
network='{"layers": ['$hidden', {"type": "dense", "units": 1}], "loss": "mse", "optimizer": "adam"}'
session=$server/v1/sessions/$("${curl[@]}" "$server/v1/sessions" --json '{"inputs": 13, "model": '"$network"', "seed": 7}' | jq -r .id)

# with GradientTape() as tape: loss = mse(y, model(x)); optimizer.apply_gradients(zip(tape.gradient(…), …))
for ((step = 1; step <= steps; step++)); do
    "${curl[@]}" "$session/gradients" --json @"$folder/batch.json" > "$folder/taped.json"
    jq -c '{gradients}' "$folder/taped.json" | "${curl[@]}" "$session/apply_gradients" --json @- > "$folder/applied.json"
    if ((step % 100 == 1 || step == steps)); then
        printf 'step %4d  loss %.4f\n' "$step" "$(jq .loss "$folder/taped.json")"
    fi
done

echo "saved as $("${curl[@]}" -X POST "$session/save?name=by-hand" | jq -r .id)"
