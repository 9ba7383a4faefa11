"""How far a pruned model's predictions are from the dense one's: typed and versioned."""

from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from glu_prune.experiment.record import ItemRecord


class DistanceRecord(ItemRecord):
    """The Kullback-Leibler divergence of one arm on one task. Columns hold one entry per item, in the order of `items`.

    Source: Dutta et al. (2024), Accuracy is Not All You Need, arXiv:2407.09141.
    """

    schema_version: Literal[1] = 1
    key: str
    model: str
    arm: str
    task: str
    settings: Mapping[str, str | int]
    versions: Mapping[str, str]
    machine: str
    created: str
    """UTC, ISO 8601."""
    code: str = ""
    """Fingerprint of the code that computed it; empty if it is not of a cell."""
    divergences: tuple[float, ...]
    """KL(dense || pruned) in nats per token, the mean over the item's tokens."""
    tokens: tuple[int, ...]
    """How many these are; see `evaluation.divergence` for which."""

    @model_validator(mode="after")
    def _counts_agree(self) -> "DistanceRecord":
        columns = (self.divergences, self.tokens, *self.fields.values(), *filter(None, [self.sources]))
        if not self.items or any(len(column) != len(self.items) for column in columns):
            msg = "every column must have one entry per item, and there must be items"
            raise ValueError(msg)
        return self
