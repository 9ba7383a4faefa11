"""A model that answers for some seconds, to tell how long it would take for all."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.decoding import Decoder, Generation
from glu_prune.evaluation.lm import no_progress
from glu_prune.evaluation.prefixes import ScoringPlan
from glu_prune.evaluation.scorer import Answer, SharedPrefixLM
from glu_prune.evaluation.writer import BATCHED


class _Enough(Exception):  # noqa: N818 - it is no error
    """The time is over."""


class ProbedLM(SharedPrefixLM):
    """Answers for some seconds, and then says that nothing was likely, or nothing at all."""

    def __init__(self, like: SharedPrefixLM, budget: float) -> None:
        """As `like` does, for `budget` seconds in each call."""
        super().__init__(like.model, like.tokenizer, like.batch_size)
        self.scoring, self._elder = like.scoring, like
        self._budget = budget
        self.tokens = 0.0
        self.seconds = 0.0
        self.spent = 0.0
        """Seconds of the model's time that were really taken."""

    def _took(self, begin: float, done: float, whole: float) -> None:
        """`whole` tokens take as long for each as the `done` ones since `begin`."""
        spent = time.perf_counter() - begin
        self.spent += spent
        self.tokens += whole
        self.seconds += spent * whole / max(done, 1)

    @torch.no_grad()
    def _answers(self, made: ScoringPlan, told: Callable[[int, int], None] = no_progress) -> list[Answer]:
        del told
        whole, done, begin = sum(len(step.tokens) for step in made.steps), 0, time.perf_counter()
        for step, cache in self._caches(made):
            self._scores(step, cache)
            done += len(step.tokens)
            if time.perf_counter() - begin > self._budget:
                break
        self._took(begin, done, whole)
        return [(0.0, False)] * len(made.starts)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Empty texts."""
        del disable_tqdm
        rows = [row for request in self._fitted(requests) if (row := self._row(*request.args))]
        if self.generating != BATCHED or len(rows) < len(requests):
            self._plainly()
        begin = time.perf_counter()

        def look(_: int) -> None:
            if time.perf_counter() - begin > self._budget:
                raise _Enough

        decoder = Decoder(self.model, self.batch_size, look)
        with suppress(_Enough):
            decoder.run(rows)
        self._took(begin, decoder.positions, _tokens(rows))
        return [""] * len(requests)

    def _plainly(self, *_: object, **__: object) -> Any:
        msg = "it is answered in the plain way, which cannot be stopped after some seconds"
        raise EvaluationError(msg)


def _tokens(rows: Sequence[Generation]) -> float:
    """Of all prompts and answers: those that are not finished are as long as others that may end at any token."""
    written = sum(len(row.generated) for row in rows)
    finished = sum(row.finished for row in rows)
    if finished == len(rows):
        return sum(len(row.prompt) for row in rows) + written
    mean = written / finished if finished else float("inf")
    return sum(len(row.prompt) + min(row.limit, mean) for row in rows)
