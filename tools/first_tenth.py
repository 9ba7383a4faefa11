"""Which neurons of a cut carry its damage: the divergence from the dense model that single layers and neurons cause.

    python -m tools.first_tenth smollm2-135m-instruct --ratio 0.1 --text FILE --out FILE.json

Removing a neuron takes its term out of the block's output, as a column of zeros in the down matrix does; so each case
is made by zeros, measured, and undone. Divergence is KL(dense || cut) of the next token, the mean over all tokens of
the text but the first of each sequence, in nats, in float32.

1. The cut of each layer alone.
2. In the layers that lose most, each of the neurons that are cut with the largest output on the text, alone.
3. The whole cut with the most damaging neurons of 2 kept, one more at a time.
4. Other criteria at the same ratio; those that look at activations are given the tokens that follow the text.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from glu_prune.models.source import load, locate
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.calibration import measure
from glu_prune.pruning.criteria import CRITERIA, Activations
from glu_prune.pruning.glu_block import GluBlock
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.ratio import parse_ratio
from glu_prune.pruning.sensitivity import Predictions, without

SEQUENCE, SEQUENCES = 256, 8
_LAYERS, _NEURONS, _KEPT, _SHOWN = 4, 12, 16, 10
"""How many layers are looked into, neurons of each tried alone, neurons kept in the end, and neurons shown."""
_CRITERION = "ppm"
_COMPARED = {
    _CRITERION: (_CRITERION, 0),
    "l2": ("l2", 0),
    **{f"random, draw {seed + 1}": ("random", seed) for seed in range(5)},
    **{name: (name, 0) for name in ("wanda", "flap", "minitron", "ppm_hybrid")},
}
"""Criteria and their seeds."""

Neuron = tuple[str, int]
"""The block's name, and the place in it."""


def examine(model: Any, text: Predictions, calibration: torch.Tensor, ratio: str) -> dict[str, Any]:
    """All four steps; `calibration` is `(sequences, length)`, too."""
    blocks = {block.name: block for block in find_blocks(model)}
    calibrated = measure(model, list(calibration))
    cuts = {name: _cut(model, how, ratio, calibrated) for name, how in _COMPARED.items()}
    cut = cuts[_CRITERION]
    layers = {}
    for name in blocks:
        with without(blocks, _by_block(each for each in cut if each[0] == name)):
            layers[name] = text.measured()["divergence"]
        say(f"{name}: {layers[name]:.4f}")
    norms = measure(model, list(text.rows))
    outputs = {name: norms[name].norm * blocks[name].weights.down.norm(dim=0) for name in blocks}
    worst = sorted(layers, key=layers.__getitem__, reverse=True)[:_LAYERS]
    alone: dict[Neuron, float] = {}
    for name in worst:
        mine = sorted((each for each in cut if each[0] == name), key=lambda each: -float(outputs[name][each[1]]))
        for neuron in mine[:_NEURONS]:
            with without(blocks, _by_block([neuron])):
                alone[neuron] = text.measured()["divergence"]
    ordered = sorted(alone, key=alone.__getitem__, reverse=True)
    kept = []
    for count in range(_KEPT + 1):
        with without(blocks, _by_block(each for each in cut if each not in ordered[:count])):
            kept.append({"kept": count, **text.measured()})
        say(f"keeping {count}: {kept[-1]['divergence']:.4f}")
    return {
        "removed": len(cut),
        "loss": text.measured()["loss"],
        "layers": layers,
        "neurons": [
            {
                "block": name,
                "neuron": place,
                "divergence": alone[name, place],
                "rank": f"{_rank(outputs[name], place)} of {len(outputs[name])}",
                "cut by": [each for each, gone in cuts.items() if (name, place) in gone],
            }
            for name, place in ordered
        ],
        "kept": kept,
        "criteria": {name: _of_criterion(blocks, text, gone) for name, gone in cuts.items()},
    }


def _of_criterion(blocks: dict[str, GluBlock], text: Predictions, gone: set[Neuron]) -> dict[str, float]:
    with without(blocks, _by_block(gone)):
        return text.measured()


def _cut(model: Any, how: tuple[str, int], ratio: str, seen: dict[str, Activations]) -> set[Neuron]:
    """The neurons that a criterion removes with a seed."""
    activations = seen if CRITERIA[how[0]].looks_at == "activations" else None
    plan = rank(model, *how, activations).plan(parse_ratio(ratio))
    return {(block.name, place) for block in plan.blocks for place in {*range(block.width)} - {*block.kept}}


def _by_block(neurons: Iterable[Neuron]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for name, place in sorted(neurons):
        found.setdefault(name, []).append(place)
    return found


def _rank(values: torch.Tensor, place: int) -> int:
    """1 for the largest."""
    return int((values > values[place]).sum()) + 1


def tables(found: dict[str, Any]) -> str:
    """What was found, as Markdown."""
    criteria = [
        f"| `{name}` | {each['divergence']:.3f} | {each['loss']:.3f} |" for name, each in found["criteria"].items()
    ]
    layers = sorted(found["layers"].items(), key=lambda each: -each[1])
    worst = [f"| {_layer(name)} | {divergence:.3f} |" for name, divergence in layers[:_LAYERS]]
    rest = f"| each of the other {len(layers) - _LAYERS} | at most {layers[_LAYERS][1]:.3f} |"
    neurons = [
        f"| {_layer(each['block'])} | {each['neuron']} | {each['divergence']:.3f} | {each['rank']} | "
        f"{'; '.join(each['cut by'])} |"
        for each in found["neurons"][:_SHOWN]
    ]
    kept = [f"| {each['kept']} | {each['divergence']:.3f} | {each['loss']:.3f} |" for each in found["kept"][::4]]
    parts = (
        ("| criterion | divergence | loss |", criteria),
        (f"| layer cut alone, by {found['criterion']} | divergence |", [*worst, rest]),
        (f"| layer | neuron | divergence alone | output | cut at {found['ratio']} by |", neurons),
        (f"| neurons kept, of those that {found['criterion']} cuts | divergence | loss |", kept),
    )
    return "\n\n".join("\n".join([head, _rule(head), *rows]) for head, rows in parts)


def _rule(head: str) -> str:
    return "|" + "---|" * (head.count("|") - 1)


def _layer(block: str) -> str:
    """`0` of `model.layers.0.mlp`."""
    return next((part for part in block.split(".") if part.isdecimal()), block)


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Writes what was found as JSON, and shows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--ratio", default="0.1")
    parser.add_argument("--text", type=Path, required=True, help=f"of which {2 * SEQUENCE * SEQUENCES} tokens are read")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    model, tokenizer = load(locate(options.model), "float32", "cpu")
    ids = tokenizer(options.text.read_text(encoding="utf-8"))["input_ids"][: 2 * SEQUENCE * SEQUENCES]
    read, after = torch.tensor(ids).view(2, SEQUENCES, SEQUENCE)
    found = examine(model, Predictions(model, list(read)), after, options.ratio)
    about = {"model": options.model, "ratio": options.ratio, "tokens": read.numel(), "criterion": _CRITERION}
    options.out.write_text(json.dumps({**about, **found}, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{tables({**about, **found})}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
