"""The model card that lies beside pruned weights: what was cut, from what, and how it is loaded."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.clean import markdown
from glu_prune.models.fetchable import FETCHABLE
from glu_prune.models.source import ModelSource, folder_of, is_hub_id
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.plan import PruningPlan
from glu_prune.report.evidence import UNKNOWN, marked

if TYPE_CHECKING:
    from glu_prune.pruning.disk_model import DiskModel
    from glu_prune.pruning.disk_pruning import Card

_MANY = 24
TAGS = ("pruned", "glu-prune")
_INHERITED = ("license", "license_name", "license_link", "language", "pipeline_tag")
"""What holds of a pruned model as it does of the one that it was cut from."""


def pruned_card(source: ModelSource, dense: "DiskModel", plan: PruningPlan, promise: str = "") -> "Card":
    """What makes the card of a model that `plan` cuts from `dense`, whose weights are those of `source`.

    `promise` is what is known of what it can still do; nothing, unless it is given.
    """

    def card(pruned: Any, widths: Mapping[str, int]) -> str:
        from huggingface_hub import ModelCard, ModelCardData

        facts = _inherited(source, dense, type(pruned).__name__)
        data = ModelCardData(
            **{"base_model": _on_the_hub(source.name), **facts},
            # whoever follows a page of the hub loads by the library that it names
            library_name="glu-prune" if _is_uneven(pruned) else "transformers",
            tags=list(TAGS),
        )
        body = _body(source.name, dense, plan, pruned, widths) + (promise or marked(UNKNOWN))
        return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{body}"))

    return card


def _is_uneven(pruned: Any) -> bool:
    """Whether blocks differ in width, so that stock loaders refuse it."""
    from glu_prune.pruning.width_map import WIDTHS

    return getattr(pruned.config, WIDTHS, None) is not None


def _on_the_hub(name: str) -> str | None:
    return name if is_hub_id(name) and not folder_of(name).exists() else None


def _inherited(source: ModelSource, dense: "DiskModel", kind: str) -> dict[str, Any]:
    """What the original's own card says, else its configuration, or what is known of a model that was fetched."""
    said = {name: value for name, value in metadata(dense.folder).items() if name in _INHERITED and value}
    if "license" not in said and (fetched := FETCHABLE.get(source.name)):
        free, terms = {"license": fetched.licence.lower()}, fetched.terms
        said |= {"license": "other", "license_name": fetched.licence, "license_link": terms} if terms else free
    if "license" not in said and isinstance(licence := getattr(dense.config, "license", None), str):
        said["license"] = licence
    if kind.endswith("ForCausalLM"):
        said.setdefault("pipeline_tag", "text-generation")
    return said


def metadata(folder: Path) -> dict[str, Any]:
    """What the card in `folder` says in its YAML; nothing if there is none that can be read."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        return metadata_load(folder / "README.md") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _body(name: str, dense: "DiskModel", plan: PruningPlan, pruned: Any, widths: Mapping[str, int]) -> str:
    how, title = criterion(plan.criterion), markdown(name)
    old, new = (sum(parameter.numel() for parameter in model.parameters()) for model in (dense.model, pruned))
    return f"""# {title}, width-pruned

Neurons of the GLU blocks of {title} were removed by glu-prune; every other weight is as it was, bit for bit.

- Target: {markdown(plan.target)}
- Criterion: {markdown(plan.criterion)}, {how.formula} ({how.source}); seed {plan.seed}
- Parameters: {old:,} before, {new:,} after ({new / old - 1:+.1%})
- Plan: `pruning_plan.json`, which neurons stayed; fingerprint `{plan.fingerprint}`

| GLU blocks | width before | width after |
|---|---|---|
{_widths(plan)}

{_loading(dense, plan, pruned, widths)}
"""


def _widths(plan: PruningPlan) -> str:
    """One row for all blocks that were cut alike."""
    alike: dict[tuple[int, int], list[str]] = {}
    for block in plan.blocks:
        alike.setdefault((block.width, len(block.kept)), []).append(block.name)
    return "\n".join(
        f"| {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''} | {width:,} | {kept:,} |"
        for (width, kept), names in list(alike.items())[:_MANY]
    )


def _loading(dense: "DiskModel", plan: PruningPlan, pruned: Any, widths: Mapping[str, int]) -> str:
    uneven = _is_uneven(pruned)
    loader = "glu_prune.load(folder)" if uneven else f"{type(pruned).__name__}.from_pretrained(folder)"
    note = (
        "Blocks differ in width, which the configuration's own entries cannot say: `glu_widths` in `config.json`\n"
        "does, and `glu_prune.load` reads it. Stock loaders refuse the shapes."
        if uneven
        else "A stock checkpoint: anything that loads the original loads it."
    )
    remarks = "".join(f"\n\n{remark}." for remark in _remarks(dense, plan, widths))
    return f"""{note}{remarks}

```python
{"import glu_prune" if uneven else f"from transformers import {type(pruned).__name__}"}

model = {loader}
```
"""


def _remarks(dense: "DiskModel", plan: PruningPlan, widths: Mapping[str, int]) -> Iterator[str]:
    from glu_prune.pruning.target import unaligned_experts

    if plan.about_ties:
        yield f"There are {plan.about_ties}"
    if warning := unaligned_experts(dense.width_map, widths):
        yield f"Its {warning}"
