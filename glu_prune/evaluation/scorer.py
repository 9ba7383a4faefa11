"""lm-eval's Hugging Face model, faster: what requests have in common is computed once, and texts come in batches."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from lm_eval.models.utils import has_bos_prefix
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from numpy.typing import NDArray
from transformers import DynamicCache

from glu_prune.evaluation.lm import no_progress
from glu_prune.evaluation.memory import path_tokens, step_tokens
from glu_prune.evaluation.prefix_sharing import (
    TRIAL_ERRORS,
    TRIAL_ROW,
    attention_masks,
    sharing_obstacle,
    too_far,
    trial_requests,
)
from glu_prune.evaluation.prefixes import EncodedRequest, PlanCache, ScoringPlan, Step, plan
from glu_prune.evaluation.writer import WritingLM

Answer = tuple[float, bool]
"""The log-likelihood of a continuation in nats, and whether greedy decoding would give it."""

SHARED = "shared prefixes"


class SharedPrefixLM(WritingLM):
    """`WritingLM` that computes each token of the trie of all requests once, where that is proven to be the same.

    The sorted requests of a call form a trie, which is cut into steps; see `prefixes`. A step is one row of at most
    8 tokens (32 where there is an accelerator) times the batch size, with a mask that lets every token see its
    ancestors; what several rows have in common is computed before them, into a cache. So is, in steps of up to 1,024
    tokens, the beginning of a request that is longer. Only tokens that predict a token of a continuation go through
    the output layer. `memory.Memory` says how much that takes beside the weights.

    On a CPU the same requests give the same bits, in whatever order. Answers are never kept; plans, which do not depend
    on weights, are kept in `plans`.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int, plans: PlanCache | None = None) -> None:
        """Wraps `model` as it is, on the device where it is; give LMs with the same tokenizer the same `plans`.

        `batch_size` says how many sequences are generated at once, and how many tokens are scored at once.
        """
        super().__init__(model, tokenizer, batch_size)
        self._plans = PlanCache() if plans is None else plans
        self._elder: SharedPrefixLM | None = None  # of which this is a sibling: what it tried is not tried again

    def sibling(self, model: Any) -> "SharedPrefixLM":
        """An LM for `model`, which differs from this one's in weights and widths alone: same plans, same scoring."""
        other = SharedPrefixLM(model, self.tokenizer, self.batch_size, self._plans)
        other.scoring, other._prompts, other._elder = self.scoring, self._prompts, self
        return other

    @cached_property
    def scoring(self) -> str:
        """How log-likelihoods are computed: "shared prefixes", or "plain: " and the reason."""
        # Known types are tried all the same, on random requests: a new version of transformers may change what a model
        # does with a mask, and that would be a wrong score and not an error.
        reason = sharing_obstacle(self.model.config) or self._difference()
        return f"plain: {reason}" if reason else SHARED

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[Answer]:
        """The answers to lm-eval's requests, each for a context and a continuation."""
        self.scoring_facts["scoring"] = self.scoring
        if self.scoring != SHARED:
            return self._plainly(super().loglikelihood, requests, disable_tqdm)
        texts = tuple(request.args for request in requests)
        made = self._plan_once(texts, lambda: self.pairs(texts))
        self.truncated.update(texts[index] for index in made.truncated)
        with self.metered():
            answers = self._answers(made, self.answered)
        for text, answer in zip(texts, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood in nats of each text of lm-eval's requests; the windows of all texts share a plan."""
        self.scoring_facts["scoring"] = self.scoring
        if self.scoring != SHARED:
            return self._plainly(super().loglikelihood_rolling, requests, disable_tqdm)
        texts = tuple(request.args for request in requests)
        windows = [self.windows(text) for (text,) in texts]
        made = self._plan_once(texts, lambda: chain.from_iterable(windows))
        with self.metered():
            answers = iter(self._answers(made, self.answered))
        found = [sum(next(answers)[0] for _ in each) for each in windows]
        for request, answer in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, answer)
        return found

    @cached_property
    def generating(self) -> str:
        """How answers are generated; the plain way where nothing may be shared."""
        if self.scoring != SHARED:
            return self.scoring
        return super().generating if self._elder is None else self._elder.generating

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], disable_tqdm: bool = False, **settings: Any
    ) -> list[Answer]:
        if self.scoring != SHARED:
            return self._plain_answers(requests, disable_tqdm=disable_tqdm, **settings)
        answers = self._answers(self._plan([(context, continuation) for _, context, continuation in requests]))
        for (texts, _, _), answer in zip(requests, answers, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, answer)
        return answers

    def _plain_answers(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], **settings: Any
    ) -> list[Answer]:
        answers: list[Answer] = super()._loglikelihood_tokens(requests, **settings)
        return answers

    def pairs(self, texts: Sequence[tuple[str, str]]) -> Iterator[EncodedRequest]:
        """Tokens as `TemplateLM.loglikelihood` makes them, of contexts and continuations.

        Spaces between the two belong to the continuation; its tokens are those that it adds to the context's.
        """
        encoded = self._encoded(chain((context.rstrip() for context, _ in texts), map("".join, texts)))
        for context, continuation in texts:
            if context:
                stem = encoded[context.rstrip()]
                yield stem, encoded[context + continuation][len(stem) :]
                continue
            tokens = self.tok_encode(continuation, add_special_tokens=False)
            yield (tokens[:1], tokens[1:]) if tokens[0] == self.prefix_token_id else ([self.prefix_token_id], tokens)

    def _encoded(self, strings: Iterable[str]) -> dict[str, list[int]]:
        """What `tok_encode` gives for each string; encoded in one call, which uses all threads of the tokenizer."""
        begin = self.tokenizer.decode(self.prefix_token_id)
        begun: dict[bool, list[str]] = {True: [], False: []}
        for string in dict.fromkeys(strings):
            begun[has_bos_prefix(string, begin)].append(string)
        usual = {} if self.add_bos_token is None else {"add_special_tokens": self.add_bos_token}
        found: dict[str, list[int]] = {}
        for settings, group in ((usual, begun[False]), ({"add_special_tokens": False}, begun[True])):
            if group:
                found.update(zip(group, self.tokenizer(group, **settings)["input_ids"], strict=True))
        return found

    def windows(self, text: str) -> list[EncodedRequest]:
        """Tokens as `HFLM.loglikelihood_rolling` makes them."""
        tokens = self.tok_encode(text)
        return list(
            map(make_disjoint_window, get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, 1))
        )

    def _plan_once(self, texts: Hashable, pairs: Callable[[], Iterable[EncodedRequest]]) -> ScoringPlan:
        """The plan for `pairs`, which the tokenizer makes of `texts`."""
        read_by = (self.tokenizer, self.add_bos_token, self.prefix_token_id)
        key = (*read_by, self.max_length, self._row_tokens, texts)
        return self._plans.get(key, lambda: self._plan(list(pairs())))

    @property
    def _row_tokens(self) -> int:
        return step_tokens(int(self.batch_size), self.device.type)

    def _plan(self, pairs: Sequence[EncodedRequest]) -> ScoringPlan:
        longest = path_tokens(int(self.batch_size), self.device.type)
        return plan(pairs, self.max_length, self._row_tokens, longest)

    @torch.no_grad()
    def _answers(self, made: ScoringPlan, told: Callable[[int, int], None] = no_progress) -> list[Answer]:
        """The answers to the requests of a plan, in their order; `told` is told how many of how many there are."""
        if not made.steps:
            return []
        # Allocated beforehand: small tensors that are kept, between large ones that are not, would make the heap grow.
        values = torch.empty(len(made.destinations), device=self.device)
        greedy = torch.empty(len(made.destinations), device=self.device, dtype=torch.bool)
        end = 0
        for step, cache in self._caches(made):
            start, end = end, end + len(step.targets)
            values[start:end], greedy[start:end] = self._scores(step, cache)
            told(made.answered(end), len(made.starts))
        return self._sums(made, values.cpu().numpy(), greedy.cpu().numpy())

    @torch.no_grad()
    def logits(self, made: ScoringPlan) -> Iterator[torch.Tensor]:
        """(scored tokens, vocabulary), step by step of a plan that `plans` made: what the tokens predict."""
        for step, cache in self._caches(made):
            if self.scoring == SHARED:
                yield self._logits(step, cache)
            else:
                tokens, scored = (torch.from_numpy(each).to(self.device) for each in (step.tokens, step.scored))
                yield self._model_call(tokens[None])[0, scored]

    def plans(self, requests: Sequence[EncodedRequest]) -> Iterator[ScoringPlan]:
        """Plans for `requests`, in their order: one for all, or where nothing may be shared, a single step for each."""
        if self.scoring == SHARED:
            return iter([self._plan(requests)])
        return (plan([each], self.max_length, self.max_length, self.max_length) for each in requests)

    @staticmethod
    def _caches(made: ScoringPlan) -> Iterator[tuple[Step, Any]]:
        """Each step of a plan, and the cache that it builds on or fills."""
        cache: Any = None
        for step in made.steps:
            if step.base == 0:
                # Without a configuration: given one, the cache drops keys outside a sliding window, and could not be
                # cropped back to where the next branch begins.
                cache = DynamicCache() if step.cached else None
            elif surplus := cache.get_seq_length() - step.base:
                cache.crop(-surplus)
            yield step, cache

    @staticmethod
    def _sums(made: ScoringPlan, values: NDArray[np.float32], greedy: NDArray[np.bool_]) -> list[Answer]:
        """The answers to the requests of a plan, given those to its tokens, step by step."""
        order = np.argsort(made.destinations)
        # In float64 and in the order of the request: the same bits, however the trie was cut.
        sums = np.add.reduceat(values[order].astype(np.float64), made.starts)
        return list(zip(sums.tolist(), np.logical_and.reduceat(greedy[order], made.starts).tolist(), strict=True))

    def _scores(self, step: Step, cache: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities in nats, in float32, of the targets of a step, and whether each is the likeliest token."""
        logits = self._logits(step, cache)
        picks, targets = (torch.from_numpy(each).to(self.device) for each in (step.picks, step.targets))
        # Always in float32: in bfloat16, lm-eval's default for such models, log-likelihoods were up to 2.4 nats off and
        # another choice became the likeliest for 6 items of 150.
        likelihoods = torch.log_softmax(logits, dim=-1, dtype=torch.float32)
        values = likelihoods[picks, targets]
        greedy = values == likelihoods.amax(-1)[picks]
        # Of tokens that are equally likely, a model says the first; `argmax`, which is slow, is for these rows only.
        greedy[greedy.clone()] = likelihoods[picks[greedy]].argmax(-1) == targets[greedy]
        return values, greedy

    def _logits(self, step: Step, cache: Any) -> torch.Tensor:
        """(scored tokens, vocabulary): what the tokens of a step predict."""
        self.positions += len(step.tokens)
        self.scored_positions += len(step.tokens)
        logits: torch.Tensor = self.model(
            input_ids=torch.from_numpy(step.tokens)[None].to(self.device),
            position_ids=torch.from_numpy(step.positions)[None].to(self.device),
            attention_mask=self._masks(step),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=torch.from_numpy(step.scored).to(self.device),
        ).logits[0]
        return logits

    def _masks(self, step: Step) -> torch.Tensor | dict[str, torch.Tensor] | None:
        """The masks of a step; None for a single path, for which transformers makes the same."""
        if len(step.runs) == 1:
            return None
        return attention_masks(step, self.model.config, self.model.dtype, self.device)

    def _difference(self) -> str | None:
        """How sharing differs from the plain way on random requests; None if by rounding alone."""
        requests = trial_requests(self.model.get_input_embeddings().num_embeddings, self.max_length)
        counters = self.positions, self.scored_positions
        try:
            plain = self._plain_answers([(None, *pair) for pair in requests], disable_tqdm=True)
            shared = self._answers(plan(requests, self.max_length, TRIAL_ROW, TRIAL_ROW))
        except TRIAL_ERRORS as error:
            return f"sharing fails: {(str(error) or repr(error)).splitlines()[0]}"
        finally:
            self.positions, self.scored_positions = counters
        differences = np.array([abs(one - other) for (one, _), (other, _) in zip(plain, shared, strict=True)])
        said = too_far(differences, sum(len(continuation) for _, continuation in requests), self.model.dtype)
        return f"on random requests, sharing changes {said}" if said else None
