"""How far a pruned model's predictions are from the dense one's: typed and versioned."""

from typing import Literal

from pydantic import model_validator

from glu_prune.experiment.record import ArmRecord


class DistanceRecord(ArmRecord):
    """The Kullback-Leibler divergence of one arm on one task.

    Source: Dutta et al. (2024), Accuracy is Not All You Need, arXiv:2407.09141.
    """

    schema_version: Literal[1] = 1
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
