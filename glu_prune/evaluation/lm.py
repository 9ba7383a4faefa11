"""lm-eval's Hugging Face model, counting the token positions it computes."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from glu_prune.evaluation.products import refuse_nan

ANSWER_LIMIT = "answer_limit"
"""Key in `scoring_facts`: the most tokens of an answer, where the task allows more than the context holds."""

Metered = Callable[[], AbstractContextManager[object]]
"""Makes a context that is entered while a model answers, but not while its requests are tokenised or planned."""

Progress = Callable[[int, int, int], None]
"""Called with how many items are answered, how many there are, and how many token positions that took, if known."""

RequestTexts = tuple[str, ...]
"""The texts that identify a request: a context and a continuation, or a prompt."""


class EvaluatedLM(Protocol):
    """What evaluation needs of a model beside lm-eval's `LM`."""

    content_free: bool
    """Whether it answers without knowing anything, as null models do."""
    items: int
    """How many items the requests that follow are about, as whoever asks says; for progress alone."""

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
    def scoring_facts(self) -> Mapping[str, str | int]:
        """How answers since the last reset were computed, as records state it: batch size, kind of scoring."""

    @property
    def truncated(self) -> Container[RequestTexts] | None:
        """Requests since the last reset that were too long and lost their beginning; None if that is not known."""

    @property
    def near_ties(self) -> Container[str] | None:
        """Prompts since the last reset after which rounding may have decided on a token; None if that is not known."""

    def reset_counters(self) -> None:
        """Starts counting at zero."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text."""


@dataclass(frozen=True)
class _Request:
    """What models read of lm-eval's requests."""

    args: tuple[str, Mapping[str, Any]]
    """Context and settings."""


class _CountingHook:
    """In place of lm-eval's `CacheHook`, to which its models give each answer: tells how many were given."""

    def __init__(self, hook: Any, told: Callable[[int], None]) -> None:
        self._hook = hook
        self._told = told
        self._answers = 0

    def add_partial(self, *answer: Any) -> None:
        self._answers += 1
        self._told(self._answers)
        self._hook.add_partial(*answer)


@contextmanager
def answers_counted(lm: Any, told: Callable[[int], None]) -> Iterator[None]:
    """Inside, `told` is called with how many requests `lm`, a model of lm-eval, has answered."""
    hook, lm.cache_hook = lm.cache_hook, _CountingHook(lm.cache_hook, told)
    try:
        yield
    finally:
        lm.cache_hook = hook


def no_progress(*_: int) -> None:
    """Tells nobody."""


def _numbers(_: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """A logits processor for transformers' `generate` that changes nothing, but raises if some logits are NaN."""
    return refuse_nan(logits)


class CountingLM(HFLM):  # type: ignore[misc]
    """`HFLM` over a loaded model; log-probabilities are taken in float32 whatever the dtype of the weights."""

    content_free = False
    items = 0
    progress: Progress = staticmethod(no_progress)
    positions: int
    scored_positions: int

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        """Wraps `model` as it is, on the device where it is."""
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype="float32")
        self.reset_counters()

    def reset_counters(self) -> None:
        """Starts counting at zero."""
        self.positions = self.scored_positions = 0
        self.scoring_facts: dict[str, str | int] = {"batch_size": self.batch_size}
        self.truncated: set[RequestTexts] = set()
        self.near_ties: set[str] | None = None

    def limit(self, batch_size: int) -> None:
        """From now on, answers in batches of at most so many sequences: after running out of memory."""
        self.batch_size_per_gpu = batch_size

    def answered(self, requests: int, of: int, more: int = 0) -> None:
        """Tells how far it is; `more` positions were computed than it has counted yet."""
        self.progress(self.items * requests // of, self.items, self.positions + more)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, counted anew: where generated tokens merge, fewer than were generated."""
        return [len(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def tok_batch_encode(
        self, strings: list[str], padding_side: str = "left", left_truncate_len: int | None = None, **settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids of prompts and their mask, as `HFLM` gives them; truncated prompts are noted."""
        # Encoded whole and truncated here: `HFLM` does both in one step and does not say which prompts it truncated.
        tokens, mask = super().tok_batch_encode(strings, padding_side, None, **settings)
        if left_truncate_len:
            lengths = mask.sum(1).tolist()
            self.truncated.update(
                (text,) for text, has in zip(strings, lengths, strict=True) if has > left_truncate_len
            )
            tokens, mask = tokens[:, -left_truncate_len:], mask[:, -left_truncate_len:]
        return tokens, mask

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], *args: Any, **settings: Any
    ) -> list[tuple[float, bool]]:
        longest = self.max_length + 1
        self.truncated.update(
            texts for texts, *parts in requests if texts is not None and sum(map(len, parts)) > longest
        )
        answers: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, *args, **settings)
        return answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The texts that follow the contexts of lm-eval's requests."""
        texts: list[str] = super().generate_until(self._fitted(requests), disable_tqdm=disable_tqdm)
        return texts

    def _fitted(self, requests: Sequence[Any]) -> list[Any]:
        """`requests`; where answers may be longer than the context, which lm-eval refuses, they get half of it."""
        # IFEval allows 1,280 tokens: without this, models with a short context could not be judged on it at all.
        found = []
        for request in requests:
            context, settings = request.args
            if normalize_gen_kwargs(settings, self.max_gen_toks)["max_gen_toks"] >= self.max_length:
                self.scoring_facts[ANSWER_LIMIT] = self.max_length // 2
                request = _Request((context, {**settings, "max_gen_toks": self.max_length // 2}))
            found.append(request)
        return found

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.positions += inps.numel()
        self.scored_positions += inps.numel()
        logits: torch.Tensor = super()._model_call(inps, *args, **kwargs)
        return logits

    def _model_generate(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        tokens: torch.Tensor = super()._model_generate(*args, logits_processor=[_numbers], **kwargs)
        self.positions += tokens.numel()
        return tokens
