"""lm-eval's Hugging Face model, counting the token positions it computes."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM


class CountedLM(Protocol):
    """What evaluation asks of a model beside being one of lm-eval's `LM`."""

    @property
    def positions(self) -> int | None:
        """Token positions computed since the last reset, padding included; None if they are not counted."""

    @property
    def scored_positions(self) -> int | None:
        """Those of them that belong to log-likelihoods; None if they are not counted."""

    @property
    def max_gen_toks(self) -> int:
        """Tokens that an answer may have where a task does not say."""

    @property
    def ways(self) -> Mapping[str, str | int]:
        """How it came to its answers since the last reset, as records say it."""

    def reset_counters(self) -> None:
        """Starts counting at zero."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


class CountingLM(HFLM):  # type: ignore[misc]
    """`HFLM` over a loaded model; log-probabilities are taken in float32 whatever the dtype of the weights."""

    positions: int
    scored_positions: int

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        """Wraps `model` as it is, on the device where it is."""
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        self.reset_counters()

    def reset_counters(self) -> None:
        """Starts counting at zero."""
        self.positions = self.scored_positions = 0
        self.ways: dict[str, str | int] = {"batch_size": self.batch_size}

    def limit(self, batch_size: int) -> None:
        """Answers in batches of at most so many sequences from now on."""
        self.batch_size_per_gpu = batch_size

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, counted anew: where generated tokens merge, fewer than were generated."""
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.positions += inps.numel()
        self.scored_positions += inps.numel()
        logits: torch.Tensor = super()._model_call(inps, *args, **kwargs)
        return logits

    def _model_generate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        tokens: torch.Tensor = super()._model_generate(*args, **kwargs)
        self.positions += tokens.numel()
        return tokens
