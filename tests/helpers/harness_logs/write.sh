#!/bin/sh
# Writes the logs in tests/data/harness_logs anew, in minutes: sh tests/helpers/harness_logs/write.sh OUT
#
# INSPECT and LIGHTEVAL name the Pythons of two environments, with torch 2.13.0 and transformers 5.23.0 in each, which hold
# inspect-ai 0.3.285 and what it requires; and lighteval 0.13.0 beside these, with xxhash below 4. Both pin other versions
# of fsspec and nltk than this project, so they are installed without their dependencies (pip install --no-deps), and those
# by name. Logs say in which folder and repository a run was: hence the new folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd) out=$(realpath -m "$1") work=$(mktemp -d)
repository=$(cd "$here/../../.." && pwd)
export PYTHONPATH="$repository" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
cp -r "$repository/glu_prune/models/embedded/tiny-instruct" "$work/dense"
cd "$work" && mkdir data "$out"
"${GLU_PRUNE:-glu-prune}" prune dense --ratio 0.5 --out pruned
"$LIGHTEVAL" "$here/items.py" data/train.jsonl
cp "$here/inspect_tasks.py" "$here/lighteval_tasks.py" .

ask() {
    "$INSPECT" -m inspect_ai eval "inspect_tasks.py@$1" --model "hf/$2" -M "model_path=$2" -M device=cpu \
        -M 'chat_template="{{ messages[0].content }}"' --display plain --log-dir "inspect/$3" $4
}

for model in dense pruned; do
    "$LIGHTEVAL" "$here/run_lighteval.py" accelerate "model_name=$model,dtype=float32,device=cpu,batch_size=4,cache_dir=cache" \
        'recalls|0,choices|0' --custom-tasks lighteval_tasks.py --output-dir lighteval --save-details
    ask recalls $model $model ''
    ask additions $model $model ''
done
ask recalls pruned part '--limit 2 --log-format json'
find lighteval -name '*|0_*' | while read -r file; do mv "$file" "$(echo "$file" | tr '|' '+')"; done  # no name for Windows
mv lighteval inspect "$out"
