"""The model card that lies beside pruned weights."""

from typing import Any

from glu_prune.clean import markdown
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.width_map import WIDTHS

_MANY = 24


UNKNOWN = "What the model can still do is not known from this card: measure it.\n"


def model_card(name: str, plan: PruningPlan, before: Any, after: Any, warning: str = "", promise: str = UNKNOWN) -> str:
    """Markdown about a pruned model: what it was cut from, how, and how it is loaded.

    `before` and `after` are the models, of which only shapes are read; `warning` is what `unaligned_experts` says,
    `promise` what is known of what it can still do.
    """
    how, title = criterion(plan.criterion), markdown(name)
    old, new = (sum(parameter.numel() for parameter in model.parameters()) for model in (before, after))
    widths: dict[tuple[int, int], list[str]] = {}
    for block in plan.blocks:
        widths.setdefault((block.width, len(block.kept)), []).append(block.name)
    rows = [
        f"| {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} | {width:,} | {kept:,} |"
        for (width, kept), names in list(widths.items())[:_MANY]
    ]
    uneven = getattr(after.config, WIDTHS, None)
    loader = "glu_prune.load(folder)" if uneven else f"{type(after).__name__}.from_pretrained(folder)"
    note = (
        "Blocks differ in width, which the configuration's own entries cannot say: `glu_widths` in `config.json`\n"
        "does, and `glu_prune.load` reads it. Stock loaders refuse the shapes.\n"
        if uneven
        else "A stock checkpoint: anything that loads the original loads it.\n"
    )
    remarks = [*([f"There are {plan.about_ties}"] if plan.about_ties else []), *([f"Its {warning}"] if warning else [])]
    note += "".join(f"\n{remark}.\n" for remark in remarks)
    table = "\n".join(rows)
    return f"""---
library_name: transformers
tags: [pruned, glu-prune]
---
# {title}, width-pruned

Neurons of the GLU blocks of {title} were removed by glu-prune; every other weight is as it was, bit for bit.

- Target: {markdown(plan.target)}
- Criterion: {markdown(plan.criterion)}, {how.formula} ({how.source}); seed {plan.seed}
- Parameters: {old:,} before, {new:,} after ({new / old - 1:+.1%})

| GLU blocks | width before | width after |
|---|---|---|
{table}

{note}
```python
{"import glu_prune" if uneven else f"from transformers import {type(after).__name__}"}

model = {loader}
```

Which neurons stayed is in `pruning_plan.json`.

{promise}"""
