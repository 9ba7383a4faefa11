"""lm-eval's Hugging Face model, writing texts many at a time."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, TypeVar

from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text

from glu_prune.evaluation.decoding import Decoder, Generation
from glu_prune.evaluation.drafts import Drafts
from glu_prune.evaluation.lm import CountingLM, Metered, answers_counted
from glu_prune.evaluation.slots import slots_obstacle
from glu_prune.evaluation.stopping import greedy_obstacle, stop_criteria

_T = TypeVar("_T")

BATCHED = "batched"

_PROMPTS_KEPT = 8192
"""Prompts of which the tokens are kept: those of the largest tasks that all arms answer one after the other."""


class WritingLM(CountingLM):
    """`CountingLM` whose greedy texts are written by `decoding`, where that is proven to be the same."""

    metered: Metered = nullcontext

    def __init__(self, model: Any, tokenizer: Any, batch_size: int) -> None:
        """Wraps `model` as it is, on the device where it is; at most `batch_size` texts are written at once."""
        super().__init__(model, tokenizer, batch_size)
        self._prompts: dict[str, list[int]] = {}
        self.drafts = Drafts()
        """Where finished texts are kept meanwhile."""

    @cached_property
    def generating(self) -> str:
        """How answers are generated: "batched", as by `decoding`, or "plain: " and the reason.

        Requests whose settings ask for more than the likeliest tokens are generated the plain way in any case.
        """
        reason = (
            greedy_obstacle(self.model.generation_config)
            or (self.think_end_token and "answers begin with thoughts")
            or slots_obstacle(self.model, self.max_length)
        )
        return f"plain: {reason}" if reason else BATCHED

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The texts that follow the contexts of lm-eval's requests: what `HFLM` generates for each alone."""
        requests = self._fitted(requests)
        way = self.generating
        rows = [row for request in requests if (row := self._row(*request.args))] if way == BATCHED else []
        if way == BATCHED and len(rows) < len(requests):
            way = "plain: more than the likeliest tokens is asked for"
        self.scoring_facts["generation"] = way
        if way != BATCHED:
            return self._plainly(super().generate_until, requests, disable_tqdm)
        left = self.drafts.left(rows)

        def finished(texts: int) -> None:
            self.answered(len(rows) - len(left) + texts, len(rows), decoder.positions)

        decoder = Decoder(self.model, self.batch_size, finished, self.drafts.keep)
        try:
            with self.metered():
                decoder.run(left)
        finally:
            self.positions += decoder.positions
        texts = list(map(self._text, rows))
        self.near_ties = {request.args[0] for request, row in zip(requests, rows, strict=True) if row.near_tie}
        for request, text in zip(requests, texts, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return texts

    def _row(self, context: str, settings: Mapping[str, Any]) -> Generation | None:
        """Tokens and settings as in `HFLM.generate_until`; None for requests that are not decoded greedily."""
        given = normalize_gen_kwargs(settings, self.max_gen_toks)
        sampled, limit = given.pop("do_sample"), given.pop("max_gen_toks")
        stops = handle_stop_sequences(given.pop("until"), self.tok_decode(self.eot_token_id, skip_special_tokens=False))
        given.pop("temperature", None)
        if sampled or given or limit < 1:
            return None
        tokens = self._prompt(context, self.max_length - limit)
        eos = self.model.generation_config.eos_token_id
        ends = frozenset(eos if isinstance(eos, Sequence) else () if eos is None else (eos,))
        return Generation(tokens, limit, stop_criteria(self.tokenizer, tuple(stops), ends)) if tokens else None

    def _prompt(self, context: str, longest: int) -> list[int]:
        """The last `longest` tokens of a prompt; whole prompts encoded lately are kept for siblings."""
        if (tokens := self._prompts.get(context)) is None:
            if len(self._prompts) >= _PROMPTS_KEPT:
                self._prompts.clear()
            encoded, _ = self.tok_batch_encode([context], truncation=self.truncation)
            tokens = self._prompts[context] = encoded[0].tolist()
        if 0 < longest < len(tokens):
            self.truncated.add((context,))
            return tokens[-longest:]
        return tokens

    def _text(self, row: Generation) -> str:
        stops = [string for string, _ in row.ending.stops]
        text: str = postprocess_generated_text(self.tok_decode(row.generated), stops, None)
        return text

    def _plainly(self, answer: Callable[..., list[_T]], requests: Sequence[Any], disable_tqdm: bool) -> list[_T]:
        """What `CountingLM` answers, metered."""
        with self.metered(), answers_counted(self, lambda done: self.answered(done, len(requests))):
            return answer(requests, disable_tqdm=disable_tqdm)
