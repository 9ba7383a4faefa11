#!/usr/bin/env bash
# Runs the cases in $TESTS. A model is named, so that one that is not here is an error.
set -euo pipefail
arguments=("$TESTS" --junitxml=results/junit.xml --glu-report=results/report.html)
test -z "$MODEL" || arguments+=(--glu-model "$MODEL")
test -z "$SELECT" || arguments+=(-k "$SELECT")
test -z "$COMPARE" || arguments+=(--glu-compare "$COMPARE")
test "$STRICT" != true || arguments+=(--glu-strict)
while IFS= read -r line; do
  test -z "$line" || arguments+=("$line")
done <<< "$ARGUMENTS"
pytest "${arguments[@]}"
