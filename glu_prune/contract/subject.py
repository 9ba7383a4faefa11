"""The model that properties are checked on, its inputs, and the case that is drawn for one check."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import torch

from glu_prune.pruning.blocks import by_owner
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.target import Target
from glu_prune.pruning.width_map import WidthMap, map_widths

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

STATIC = ("ppm", "vow", "pon", "l2", "pon3", "random", "reversed-ppm")
"""Criteria that need no text; all score a neuron by itself."""
_SEQUENCES, _TOKENS = 2, 9


@dataclass(frozen=True)
class Subject:
    """A model, and the inputs on which its answers are compared."""

    model: Any
    inputs: Mapping[str, torch.Tensor]
    name: str = ""
    """How `read` would find it again, for the snippets that reproduce failures."""

    @classmethod
    def of(cls, model: Any, inputs: Mapping[str, torch.Tensor], name: str) -> "Subject":
        """`model` with experts computed one by one: grouped kernels refuse widths that are no multiple of 16 bytes."""
        if hasattr(model, "set_experts_implementation"):
            model.set_experts_implementation("eager")
        return cls(model, inputs, name)

    def answers(self) -> torch.Tensor:
        """The model's logits on the inputs, in float32."""
        with torch.no_grad():
            logits: torch.Tensor = self.model(**self.inputs).logits
        return logits.float()

    @property
    def width_map(self) -> WidthMap:
        """Its GLU blocks as they are now."""
        return map_widths(self.model)

    @property
    def tolerance(self) -> float:
        """How far answers may be apart, relative to the largest, when sums are only taken in another order."""
        return {torch.float64: 1e-10, torch.float32: 1e-4}.get(self.model.dtype, 5e-2)


@dataclass(frozen=True)
class PruningCase:
    """What is drawn for one check; its `repr` is the code that builds it again."""

    criterion: str = "ppm"
    ratio: str = "0.5"
    multiple_of: int = 1
    owners: tuple[str, ...] = ()
    """The modules whose blocks are cut; empty for all."""
    seed: int = 0

    def target(self, width_map: WidthMap, ratio: str | None = None) -> Target:
        """The target for a model with these blocks; at `ratio` instead of its own, if given."""
        others = [owner for owner in by_owner(width_map.blocks) if self.owners and owner not in self.owners]
        return Target.of(Decimal(ratio or self.ratio), multiple_of=self.multiple_of, skip=others)

    def plan(self, subject: Subject) -> PruningPlan:
        """The plan that this case means for the model as it is now."""
        ranking = rank(subject.model, self.criterion, self.seed)
        return ranking.plan(self.target(ranking.width_map))


def random_inputs(model: Any, seed: int = 0) -> dict[str, torch.Tensor]:
    """A seeded batch of random tokens, `(2, 9)`, for any text model; encoder-decoders get as many for the decoder."""
    config = model.config.get_text_config()
    generator = torch.Generator().manual_seed(seed)

    def tokens() -> torch.Tensor:
        drawn = torch.randint(0, config.vocab_size, (_SEQUENCES, _TOKENS), generator=generator)
        return drawn.to(model.device)

    inputs = {"input_ids": tokens()}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = tokens()
    return inputs


def cases(width_map: WidthMap) -> "SearchStrategy[PruningCase]":
    """A hypothesis strategy for cases that fit a model: criterion, ratio, divisor, seed, and the blocks to cut."""
    from hypothesis import strategies as st

    owners = tuple(by_owner(width_map.blocks))
    return st.builds(
        PruningCase,
        criterion=st.sampled_from(STATIC),
        ratio=st.decimals(0, "0.95", places=2).map(str),
        multiple_of=st.integers(1, Target.largest_multiple(width_map)),
        owners=st.just(()) | st.lists(st.sampled_from(owners), min_size=1, unique=True).map(tuple),
        seed=st.integers(0, 2**16),
    )
