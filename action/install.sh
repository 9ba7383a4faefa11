#!/usr/bin/env bash
# Installs torch from $TORCH_INDEX, and this version with the libraries it is tested with, so that stored records stay valid.
set -euo pipefail
constraints=$GITHUB_ACTION_PATH/constraints.txt
pip install --quiet --constraint "$constraints" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
pip install --quiet --constraint "$constraints" "$GITHUB_ACTION_PATH[report]"
