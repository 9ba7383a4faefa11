#!/usr/bin/env bash
# Downloads $MODEL, unless it is here, or none is named.
set -euo pipefail
test -n "$MODEL" || exit 0
if glu-prune plan "$MODEL" --ratio 0.5 --offline > /dev/null 2>&1; then
  exit 0
fi
case $MODEL in
  */*) hf download "$MODEL" ;;
  *) glu-prune fetch "$MODEL" ;;
esac
