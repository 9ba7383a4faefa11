"""Writes the card of an embedded model beside its weights: `python -m tools.model_card tiny-base`.

The card holds what anyone needs to judge the model: recipe, data, loss, checksum, and its dense scores as measured now.
"""

import csv
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from glu_prune.evaluation.capability import EMBEDDED
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.experiment.code import library_versions
from glu_prune.models.source import MODELS, load, locate
from glu_prune.report.table import Column, render
from tools.miniature.recipes import RECIPES, Recipe
from tools.miniature.world import WORLD_SEED

_SCORES: tuple[Column[dict[str, object]], ...] = (
    Column("capability", lambda row: row["capability"]),
    Column("task", lambda row: row["task"]),
    Column("metric", lambda row: row["metric"]),
    Column("items", lambda row: row["items"]),
    Column("score", lambda row: f"{row['score']:.3f}"),
    Column("by group", lambda row: row["groups"]),
)
_LOSS_ROWS = 12


def write_card(name: str) -> Path:
    """Evaluates the embedded model `name` on every embedded task and writes its card."""
    folder = MODELS / name
    weights = (folder / "model.safetensors").read_bytes()
    config = json.loads((folder / "config.json").read_text())
    lm = CountingLM(*load(locate(name), "float32", "cpu"), batch_size=64)
    recipe = RECIPES[name]
    card = folder / "README.md"
    card.write_text(
        f"""---
license: apache-2.0
library_name: transformers
---
# {name}

A Llama-architecture model in miniature, trained from scratch by this project to be pruned: {_origin(recipe)}.
It knows one invented world (seed {WORLD_SEED}) and nothing else.

- Shape: {config["num_hidden_layers"]} layers, hidden {config["hidden_size"]}, width {config["intermediate_size"]}
  (expansion ratio {config["intermediate_size"] / config["hidden_size"]}), vocabulary {config["vocab_size"]},
  {lm.model.num_parameters():,} parameters, bf16
- Data: documents of `tools.miniature.world`, mixed {_mixture(recipe)}
- Training: {recipe.tokens:,} token positions ({recipe.steps:,} steps of {recipe.batch_rows} rows of
  {recipe.row_tokens} tokens, in {len(recipe.stages)} stage(s)), AdamW, seed {recipe.seed}; mixtures and schedules
  are in `tools.miniature.recipes`
- Repeat it: `python -m tools.miniature.train {name}`
- SHA-256 of `model.safetensors`: `{hashlib.sha256(weights).hexdigest()}`
- This card: {datetime.now(UTC).date().isoformat()}, {", ".join(f"{k} {v}" for k, v in library_versions().items())}

## Scores of the dense model

Measured in float32 on the CPU. Items are disjoint from the training text; facts are the same, asked in other words.

{render(_SCORES, _score_rows(lm), "pipe")}

## Loss

The whole log is `training_log.csv`. Loss is the mean in nats per token since the row before.

| step | tokens | loss | seconds |
|---|---|---|---|
{_loss_rows(folder)}
""",
        encoding="utf-8",
    )
    return card


def _loss_rows(folder: Path) -> str:
    with (folder / "training_log.csv").open() as stream:
        log = list(csv.DictReader(stream))
    picked = [*log[:: max(1, len(log) // _LOSS_ROWS)], log[-1]]
    return "\n".join(f"| {row['step']} | {int(row['tokens']):,} | {row['loss']} | {row['seconds']} |" for row in picked)


def _origin(recipe: Recipe) -> str:
    return f"{recipe.parent}, tuned to follow instructions" if recipe.parent else "a base model"


def _mixture(recipe: Recipe) -> str:
    return (
        ", ".join(f"{subject} {recipe.shares(subject):.1%}" for subject in recipe.stages[0].weights) + " of documents"
    )


def _score_rows(lm: CountingLM) -> list[dict[str, object]]:
    evaluator = Evaluator()
    results = {task: evaluator.evaluate(lm, task) for task in dict.fromkeys(c.task for c in EMBEDDED)}
    rows: list[dict[str, object]] = []
    for capability in EMBEDDED:
        result = results[capability.task]
        scores = result.metrics[capability.metric]
        groups: dict[str, list[float]] = {}
        for field in capability.groups[:1]:
            for document, value in zip(result.documents, scores.values, strict=True):
                groups.setdefault(document[field], []).append(value)
        rows.append(
            {
                "capability": capability.name,
                "task": capability.task,
                "metric": capability.metric,
                "items": len(result.items),
                "score": scores.score,
                "groups": ", ".join(f"{name} {sum(v) / len(v):.2f}" for name, v in groups.items()) or "-",
            }
        )
    return rows


if __name__ == "__main__":
    for model in sys.argv[1:] or RECIPES:
        sys.stdout.write(f"{write_card(model)}\n")
