"""Capabilities that an expectation file declares for itself, beside those of its suite or in place of them."""

from typing import Annotated

from pydantic import Field, model_validator

from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import LIKELIHOODS
from glu_prune.judgement.claim import ClosedModel

_Text = Annotated[str, Field(min_length=1)]

CapabilityName = Annotated[str, Field(pattern=r"^\w+$")]
"""Letters, digits and underscores, as it becomes part of test ids."""


class Declared(ClosedModel):
    """What `Capability` says of the same fields; its name is the key that it stands under."""

    task: _Text
    metric: _Text
    measures: str = ""
    higher_is_better: bool = True
    chance: Annotated[float, Field(allow_inf_nan=False)] | None = None
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = None
    groups: tuple[_Text, ...] = ()
    cluster: _Text | None = None
    source: str = ""

    @model_validator(mode="after")
    def _better_as_the_metric_says(self) -> "Declared":
        if self.metric in LIKELIHOODS and self.higher_is_better:
            msg = f"a lower {self.metric} is better; say so with `higher_is_better: false`"
            raise ValueError(msg)
        return self

    def named(self, name: str) -> Capability:
        """The capability."""
        return Capability(name, **dict(self))
