"""One of lm-eval's own models, behind the protocol that evaluation needs."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partialmethod
from typing import Any, ClassVar

from lm_eval.api.model import LM

from glu_prune.evaluation.lm import Metered, Progress, answers_counted, no_progress
from glu_prune.evaluation.third_party import errors_as_one_line, muted

_DEFAULT_TOKENS = 256
"""What lm-eval lets models generate where neither the task nor the model says."""


class BackendLM(LM):  # type: ignore[misc]
    """Hands every request to a model of lm-eval, and turns what that raises into one line.

    How many token positions it computes is not known.
    """

    content_free = False
    items = 0
    progress: Progress = staticmethod(no_progress)
    positions = None
    scored_positions = None
    scoring_facts: ClassVar[Mapping[str, str | int]] = {}
    truncated = None
    near_ties = None
    metered: Metered = nullcontext

    def __init__(self, lm: Any, tokenizer: Any, complaint: str) -> None:
        """`tokenizer` counts the tokens of answers; `complaint` begins what is said when `lm` raises."""
        super().__init__()
        self._lm = lm
        self._tokenizer = tokenizer
        self._complaint = complaint
        self.broken = False
        """Whether the model has failed once, and may be dead."""

    def reset_counters(self) -> None:
        """Does nothing: there are no counters."""

    def limit(self, batch_size: int) -> None:
        """Does nothing: the backend keeps the batch size that it was loaded with."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, counted anew: where generated tokens merge, fewer than were generated."""
        return [len(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    @property
    def max_gen_toks(self) -> int:
        """Tokens that an answer may have where a task does not say."""
        return getattr(self._lm, "max_gen_toks", None) or _DEFAULT_TOKENS

    def _ask(self, method: str, *arguments: Any, **settings: Any) -> Any:
        """What the model answers.

        Raises:
            EvaluationError: it raised something, or would have ended the process.
        """
        ask: Callable[..., Any] = getattr(self._lm, method)
        # Set beforehand: an interrupt or a killed worker must leave the model marked as unusable, too.
        self.broken = True
        with errors_as_one_line(self._complaint), muted():
            answers = ask(*arguments, **settings)
        self.broken = False
        return answers

    def _answer(self, method: str, requests: Sequence[Any], **settings: Any) -> Any:
        def told(done: int) -> None:
            self.progress(self.items * done // len(requests), self.items, 0)

        with self.metered(), answers_counted(self._lm, told):
            return self._ask(method, requests, **settings)

    loglikelihood = partialmethod(_answer, "loglikelihood")
    loglikelihood_rolling = partialmethod(_answer, "loglikelihood_rolling")
    generate_until = partialmethod(_answer, "generate_until")
    apply_chat_template = partialmethod(_ask, "apply_chat_template")
    chat_template = partialmethod(_ask, "chat_template")
    set_cache_hook = partialmethod(_ask, "set_cache_hook")
    all_gather = partialmethod(_ask, "all_gather")
    gather_object = partialmethod(_ask, "gather_object")
    barrier = partialmethod(_ask, "barrier")

    @property
    def rank(self) -> int:
        """Index of the process among those that share the requests."""
        found: int = self._lm.rank
        return found

    @property
    def world_size(self) -> int:
        """How many processes share the requests."""
        found: int = self._lm.world_size
        return found

    @property
    def device(self) -> Any:
        """Where the model gathers what several processes found."""
        return self._lm.device

    @property
    def tokenizer_name(self) -> str:
        """What identifies its chat template."""
        found: str = self._lm.tokenizer_name
        return found
