"""How sensitive the layers of a model are to a criterion: measured once, and kept in the store."""

import hashlib
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from glu_prune.files import write_whole
from glu_prune.models.source import ModelSource
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.ratio import show_ratio
from glu_prune.pruning.sensitivity import Sensitivity

RATIOS = (Decimal("0.05"), Decimal("0.1"), Decimal("0.25"), Decimal("0.5"), Decimal("0.75"))
"""At which layers are cut unless others are asked for; between them straight lines are taken."""
FOLDER = "sensitivities"
"""Of a store."""


def sensitivity_of(
    source: ModelSource,
    criterion_name: str,
    seed: int,
    text: CalibrationText,
    ratios: Sequence[Decimal] = RATIOS,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Sensitivity:
    """KL to the whole model on `text`, with each layer cut alone; `told` is given how many cuts are done of how many.

    Raises:
        GluPruneError: the model cannot be loaded or cut like that, or the text cannot be used.
    """
    import torch

    from glu_prune.evaluation.third_party import muted
    from glu_prune.models.source import load
    from glu_prune.pruning.calibration import measure, token_rows
    from glu_prune.pruning.criteria import criterion
    from glu_prune.pruning.ranking import rank
    from glu_prune.pruning.sensitivity import curves_of

    how = criterion(criterion_name)
    with muted():
        model, tokenizer = load(source, "float32", "cpu")
    rows = [row for row in token_rows(tokenizer, text) if len(row) > 1]
    seen = measure(model, rows) if how.looks_at == "activations" else None
    ranking = rank(model, criterion_name, seed, seen)
    curves = curves_of(model, ranking, [torch.tensor(row) for row in rows], ratios, told)
    about = {"model": source.name, "weights": source.fingerprint, "text": text.digest, "tokens": sum(map(len, rows))}
    return Sensitivity(how.name, curves, tuple((name, str(value)) for name, value in about.items()))


def kept(
    store: Path,
    source: ModelSource,
    criterion_name: str,
    seed: int,
    text: CalibrationText,
    told: Callable[[int, int], None],
) -> Path:
    """The file of what `sensitivity_of` gives, which is measured if it is not there.

    Raises:
        GluPruneError: it cannot be measured, or the store cannot be written.
    """
    from glu_prune.experiment.code import code_fingerprint
    from glu_prune.pruning.criteria import criterion

    said = [source.fingerprint, criterion_name, criterion(criterion_name).source_digest, seed, text.digest]
    asked = json.dumps([*said, *map(show_ratio, RATIOS), code_fingerprint(("glu_prune.experiment.layers",))])
    file = store / FOLDER / f"{hashlib.sha256(asked.encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        found = sensitivity_of(source, criterion_name, seed, text, told=told)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, found.to_json())
    return file
