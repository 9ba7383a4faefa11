"""Work of a fixed size: so many prompts at once, so many new tokens for each, the same for every arm."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from glu_prune.errors import WorkloadError
from glu_prune.evaluation import local_data

Batch = tuple[tuple[int, ...], ...]
"""Token ids of the prompts that are answered together; rows may differ in length."""

_COLUMNS: Mapping[str, str] = {"hellaswag": "query", "mmlu": "question", "ifeval": "prompt"}
"""Benchmarks whose prompts can be used, and the column that holds them."""


@dataclass(frozen=True)
class Workload:
    """What a model is asked to do, again and again."""

    name: str
    batch_size: int
    prompt_tokens: int
    """Of every prompt that is drawn; the most of one that is text."""
    new_tokens: int
    """Of every answer: the end of text is suppressed until then, and generation ends there."""
    benchmark: str | None = None
    """Whose prompts are used where `GLU_PRUNE_DATA` has them; they are drawn where it has not."""
    seeds: tuple[int, ...] = (0,)
    """Of the prompts; rounds of a measurement use them in turn."""

    def __post_init__(self) -> None:
        """Raises `WorkloadError` unless there is something to do."""
        if min(self.batch_size, self.prompt_tokens, self.new_tokens) < 1:
            msg = (
                f"a workload needs at least 1 prompt of 1 token and 1 new token; found batch size {self.batch_size}, "
                f"{self.prompt_tokens} prompt tokens, {self.new_tokens} new tokens"
            )
            raise WorkloadError(msg)


def drawn(prompt_tokens: int, new_tokens: int, batch_size: int) -> Workload:
    """Prompts of tokens that are drawn at random: a transformer's cost does not depend on which tokens they are."""
    return Workload(f"p{prompt_tokens}_n{new_tokens}_b{batch_size}", batch_size, prompt_tokens, new_tokens)


def _of_the_study(benchmark: str, prompt_tokens: int, new_tokens: int) -> Iterator[Workload]:
    for kind, batch_size in (("latency", 1), ("throughput", 8)):
        name = f"{benchmark}_{kind}_b{batch_size}"
        yield Workload(name, batch_size, prompt_tokens, new_tokens, benchmark, seeds=(42, 123, 456))


_STUDY = (
    *_of_the_study("hellaswag", 128, 20),
    *_of_the_study("mmlu", 256, 50),
    *_of_the_study("ifeval", 256, 150),
)
WORKLOADS: Mapping[str, tuple[Workload, ...]] = {
    "embedded": (drawn(64, 32, 1), drawn(64, 32, 8)),
    "study": _STUDY,
    "study-instruct": _STUDY,
    "stories": _STUDY,
}
"""Suite to what is measured in it. The study's: arXiv:2512.22671, its data files' names, lengths, batches and seeds."""


def texts(workload: Workload) -> tuple[str, ...]:
    """The prompts that `workload` has on this machine; none if they are to be drawn.

    Raises:
        EvaluationError: the data folder is named, but lacks the benchmark, or has no text for it.
    """
    if workload.benchmark is None:
        return ()
    return local_data.texts(workload.benchmark, _COLUMNS[workload.benchmark]) or ()


@dataclass(frozen=True)
class Prompts:
    """Where the prompts of a workload come from: text if there is any, else the generator."""

    workload: Workload
    vocabulary: int
    """Token ids are drawn below this."""
    texts: tuple[str, ...] = ()
    encode: Callable[[str], Sequence[int]] | None = None

    @property
    def source(self) -> str:
        """In words."""
        return f"{len(self.texts)} prompts of {self.workload.benchmark}" if self.texts else "tokens drawn at random"

    def batches(self, turn: int) -> Iterator[Batch]:
        """Batches without end, the same for the same `turn`."""
        import numpy as np

        seeds = self.workload.seeds
        generator = np.random.default_rng((seeds[turn % len(seeds)], turn // len(seeds)))
        shape = (self.workload.batch_size, self.workload.prompt_tokens)
        while True:
            if self.texts:
                chosen = generator.integers(0, len(self.texts), self.workload.batch_size)
                yield tuple(self._encoded(self.texts[index]) for index in chosen)
            else:
                yield tuple(map(tuple, generator.integers(0, self.vocabulary, shape).tolist()))

    def _encoded(self, text: str) -> tuple[int, ...]:
        assert self.encode is not None
        ids = tuple(self.encode(text))[: self.workload.prompt_tokens]
        if not ids:
            msg = f"the tokenizer makes no token of a prompt of {self.workload.benchmark}: {text!r}; remove it"
            raise WorkloadError(msg)
        return ids


def prompts(workload: Workload, vocabulary: int, encode: Callable[[str], Sequence[int]] | None) -> Prompts:
    """The prompts of `workload` on this machine.

    Args:
        workload: What is to be done.
        vocabulary: How many token ids the model knows.
        encode: Text to token ids, as the model expects a prompt; without a tokenizer None, and prompts are drawn.

    Raises:
        EvaluationError: as `texts`.
    """
    return Prompts(workload, vocabulary, texts(workload) if encode else (), encode)
