"""How the embedded models were made: one frozen recipe each, everything that determines the weights."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """A Llama architecture in miniature; the expansion ratio is 4.0, as Llama-3.2-1B's."""

    hidden_size: int = 160
    intermediate_size: int = 640
    num_hidden_layers: int = 5
    num_attention_heads: int = 5
    vocab_size: int = 2048
    context: int = 256


@dataclass(frozen=True)
class Stage:
    """One stage of training with its own mixture, optimizer and learning rate schedule."""

    weights: Mapping[str, float]
    """Documents per subject, relative."""
    steps: int
    learning_rate: float
    """At its peak, after the warm-up."""
    warmup_steps: int
    decay_from: float
    """Share of the steps after which the learning rate falls linearly to zero; 1 for never."""


@dataclass(frozen=True)
class Recipe:
    """What it takes to train one embedded model."""

    name: str
    parent: str | None
    """The model to start from; None starts from random weights and trains the tokenizer, too."""
    stages: tuple[Stage, ...]
    seed: int
    """Of the initial weights and of the first stage's documents; the next stage uses the next number."""
    batch_rows: int = 32
    row_tokens: int = 128
    weight_decay: float = 0.1
    architecture: Architecture = Architecture()

    @property
    def steps(self) -> int:
        """Updates in all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def tokens(self) -> int:
        """Token positions seen in training."""
        return self.steps * self.batch_rows * self.row_tokens

    def shares(self, subject: str) -> float:
        """The share of training documents that are about `subject`."""
        return (
            sum(stage.steps * stage.weights[subject] / sum(stage.weights.values()) for stage in self.stages)
            / self.steps
        )


_KNOWLEDGE = Stage(
    weights={"recall": 180, "beliefs": 11, "arithmetic": 14, "stories": 10, "passages": 30, "instructions": 1},
    steps=3900,
    learning_rate=3e-3,
    warmup_steps=100,
    decay_from=1.0,
)
"""Facts first: thousands of people press on the capacity of the model before anything else asks for it."""

_SKILLS = Stage(
    weights={"recall": 89, "beliefs": 17, "arithmetic": 41, "stories": 12, "passages": 24, "instructions": 1},
    steps=2600,
    learning_rate=3e-3,
    warmup_steps=50,
    decay_from=0.5,
)
"""More arithmetic, which had not been learnt after the first stage."""

_INSTRUCTIONS = Stage(
    weights={"recall": 20, "beliefs": 4, "arithmetic": 8, "stories": 5, "passages": 8, "instructions": 70},
    steps=1300,
    learning_rate=1.5e-3,
    warmup_steps=30,
    decay_from=0.3,
)

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="tiny-base", parent=None, stages=(_KNOWLEDGE, _SKILLS), seed=1),
        Recipe(name="tiny-instruct", parent="tiny-base", stages=(_INSTRUCTIONS,), seed=2),
    )
}
