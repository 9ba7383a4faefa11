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
class Recipe:
    """What it takes to train one embedded model."""

    name: str
    parent: str | None
    """The model to start from; None starts from random weights and trains the tokenizer, too."""
    weights: Mapping[str, float]
    """Documents per subject, relative."""
    steps: int
    learning_rate: float
    warmup_steps: int
    decay_from: float
    """Share of the steps after which the learning rate falls linearly to zero."""
    seed: int
    batch_rows: int = 32
    row_tokens: int = 128
    weight_decay: float = 0.1
    architecture: Architecture = Architecture()

    @property
    def tokens(self) -> int:
        """Token positions seen in training."""
        return self.steps * self.batch_rows * self.row_tokens


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="tiny-base",
            parent=None,
            weights={
                "recall": 180,
                "beliefs": 11,
                "arithmetic": 14,
                "stories": 10,
                "passages": 30,
                "instructions": 1,
            },
            steps=6500,
            learning_rate=3e-3,
            warmup_steps=100,
            decay_from=0.6,
            seed=1,
        ),
        Recipe(
            name="tiny-instruct",
            parent="tiny-base",
            weights={
                "recall": 90,
                "beliefs": 6,
                "arithmetic": 8,
                "stories": 5,
                "passages": 16,
                "instructions": 70,
            },
            steps=1300,
            learning_rate=1.5e-3,
            warmup_steps=30,
            decay_from=0.3,
            seed=2,
        ),
    )
}
