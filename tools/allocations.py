"""Whether layers that lose what they can spare predict other text better than if all lost alike, at equal cost.

    python -m tools.allocations MODEL --sensitivity FILE --text FILE --out FILE.json

`--sensitivity` is what `glu-prune sensitivity` measured, on other text than `--text`. For each ratio, KL(dense || cut)
in nats per token over sequences of the text, cut alike and by layer, and the paired difference over sequences with its
95 % interval (Student's t).
"""

import argparse
import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch

from glu_prune.models.source import load, locate
from glu_prune.pruning.calibration import measure, token_rows
from glu_prune.pruning.calibration_text import CalibrationText, text_file
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.sensitivity import Predictions, Sensitivity
from glu_prune.pruning.surgery import apply
from glu_prune.pruning.target import Target
from glu_prune.statistics.means import student_interval

SEQUENCE, SEQUENCES = 256, 24


def apart(dense: Predictions, model: Any, plan: PruningPlan) -> list[float]:
    """KL of each sequence, in nats per token, of a copy of `model` that is cut as `plan` says."""
    cut = copy.deepcopy(model)
    apply(cut, plan)
    return dense.divergences(cut)


def compared(model: Any, ranking: Any, dense: Predictions, target: Target, curves: Any) -> dict[str, Any]:
    """Both ways at one target."""
    by_layer = Target(target.ratio, multiple_of=target.multiple_of, curves=curves)
    plans = {"alike": ranking.plan(target), "by layer": ranking.plan(by_layer)}
    found = {name: apart(dense, model, plan) for name, plan in plans.items()}
    difference = [after - before for before, after in zip(found["alike"], found["by layer"], strict=True)]
    widths = plans["by layer"].widths.values()
    return {
        "neurons": {name: sum(plan.widths.values()) for name, plan in plans.items()},
        "widths": [min(widths), max(widths)],
        "kl": {name: sum(each) / len(each) for name, each in found.items()},
        "difference": student_interval(difference),
    }


def main() -> int:
    """Writes what was found as JSON, and shows it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--sensitivity", type=Path, required=True)
    parser.add_argument("--calibration", default="everyday", help="what the criterion is shown, if it looks at text")
    parser.add_argument("--text", type=Path, required=True, help=f"of which {SEQUENCE * SEQUENCES} tokens are read")
    parser.add_argument("--ratios", default="0.1,0.2,0.3")
    parser.add_argument("--multiple-of", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sensitivity = Sensitivity.read(options.sensitivity)
    model, tokenizer = load(locate(options.model), "float32", "cpu")
    ids = tokenizer(options.text.read_text(encoding="utf-8"))["input_ids"][: SEQUENCE * SEQUENCES]
    dense = Predictions(model, list(torch.tensor(ids).view(SEQUENCES, SEQUENCE)))
    shown = CalibrationText(text_file(options.calibration, Path.cwd()))
    looks = criterion(sensitivity.criterion).looks_at == "activations"
    seen = measure(model, token_rows(tokenizer, shown)) if looks else None
    ranking = rank(model, sensitivity.criterion, 0, seen)
    rows = {}
    for ratio in options.ratios.split(","):
        target = Target.of(ratio, multiple_of=options.multiple_of)
        rows[ratio] = compared(model, ranking, dense, target, sensitivity.curves)
        change, low, high = rows[ratio]["difference"]
        both = " -> ".join(f"{each:.4f}" for each in rows[ratio]["kl"].values())
        sys.stdout.write(f"{ratio}: {both} ({change:+.4f}, {low:+.4f} to {high:+.4f})\n")
    about = {"model": options.model, "criterion": sensitivity.criterion, "tokens": SEQUENCE * SEQUENCES}
    about |= {"multiple_of": options.multiple_of, "sequences": SEQUENCES, "ratios": rows}
    options.out.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
