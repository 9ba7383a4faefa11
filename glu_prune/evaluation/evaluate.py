"""The only importer of lm-eval's evaluator: (model, task) -> scores with the items behind them."""

import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import lm_eval_tasks, local_data, user_tasks
from glu_prune.evaluation.lm import EvaluatedLM
from glu_prune.evaluation.once import build_requests_once, read_documents_once, work_once
from glu_prune.evaluation.result import TaskResult, result_of, samples_of
from glu_prune.evaluation.shared_sources import Place, shared_sources
from glu_prune.evaluation.subset import Subset
from glu_prune.evaluation.tasks.functions import no_nltk_download

TASKS = Path(__file__).parent / "tasks"
FEWSHOT_SEED = 1234
_SCORER_SEED = 1
FETCH_SENTENCES = "`glu-prune prefetch`, or `python -m nltk.downloader punkt_tab`, fetches it"
_KINDS = ("tasks", "groups", "group_map")
"""Entries of lm-eval's task dictionaries; each maps names to objects."""

_Samples = list[tuple[str, dict[str, Any]]]
"""Items of a task: the leaf that each belongs to, and what lm-eval notes of it."""


def is_embedded(task: str) -> bool:
    """Whether `task` comes with this package, with its data."""
    return (TASKS / f"{task}.yaml").is_file()


@contextmanager
def _same_draws() -> Iterator[None]:
    """Scores every model with the same random numbers, and restores the caller's."""
    # IFEval's letter counter takes letters only. For items 1122 and 1129, which ask for "#" and "!", it draws a letter
    # from `random` whenever it scores; unseeded, the same reply passes on one day and fails on another. The draw moves
    # scores by at most 2 of 541 prompts: the prompt in a loop scores 0.303 with this seed, 0.305 with others. The
    # language detector draws at random, too.
    import langdetect

    state = random.getstate()
    random.seed(_SCORER_SEED)
    langdetect.DetectorFactory.seed = 0
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _finite(tasks: Sequence[str]) -> Iterator[None]:
    """Raises `EvaluationError` where a model finds that its logits are NaN."""
    try:
        yield
    except FloatingPointError as error:
        msg = f"{', '.join(tasks)}: {error}"
        raise EvaluationError(msg) from error


class Evaluator:
    """Runs lm-eval tasks; loads each task once."""

    def __init__(self) -> None:
        """Loads nothing yet and makes no connection."""
        self._tasks: dict[tuple[str, int | None, Path | None], dict[str, Any]] = {}
        self._sources: dict[tuple[str, int | None, Path | None], dict[Place, str]] = {}

    @cached_property
    def _manager(self) -> Any:
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        return TaskManager(include_path=str(TASKS), include_defaults=False)

    def _found(self, task: str, num_fewshot: int | None, folder: Path | None) -> dict[str, Any]:
        """lm-eval's task dictionary for `task`: of the user's folder, on data from a folder, of ours, or of lm-eval's.

        Raises:
            EvaluationError: the task cannot be loaded.
        """
        if folder is not None:
            return user_tasks.load(task, folder)
        try:
            found: dict[str, Any] = local_data.load(task, num_fewshot) or self._stock(task)
        except (KeyError, ValueError, OSError) as error:
            msg = f"lm-eval task {task!r} cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
            raise EvaluationError(msg) from error
        return found

    def _load(self, task: str, num_fewshot: int | None, folder: Path | None) -> dict[str, Any]:
        """lm-eval's task dictionary for `task`, with settings that do not change afterwards."""
        key = (task, num_fewshot, folder)
        if key not in self._tasks:
            work_once()
            loaded = self._found(*key)
            for each in loaded["tasks"].values():
                if num_fewshot is not None:
                    each.set_config("num_fewshot", num_fewshot)
                each.set_fewshot_seed(seed=FEWSHOT_SEED)
                read_documents_once(each)
                build_requests_once(each)
            self._tasks[key] = loaded
        return self._tasks[key]

    def sources(self, task: str, num_fewshot: int | None = None, folder: Path | None = None) -> dict[Place, str]:
        """The sources that documents of `task` share, by place; see `shared_sources`.

        Raises:
            EvaluationError: the task cannot be loaded.
        """
        key = (task, num_fewshot, folder)
        if key not in self._sources:
            leaves = self._load(*key)["tasks"]
            self._sources[key] = shared_sources({name: list(leaf.eval_docs) for name, leaf in leaves.items()})
        return self._sources[key]

    def _stock(self, task: str) -> dict[str, Any]:
        """lm-eval's task dictionary for an embedded task, or one of its own on data that `datasets` has or fetches.

        Raises:
            EvaluationError: what its checkers need to score answers could not be fetched.
        """
        from huggingface_hub import is_offline_mode

        found: dict[str, Any]
        if is_embedded(task):
            found = self._manager.load([task])
            return found
        with no_nltk_download() if is_offline_mode() else nullcontext():
            found = lm_eval_tasks.manager_of(task).load([task])
        if (sentences := local_data.sentences(task)) is not None and not sentences.is_dir():
            msg = f"{task}: NLTK's punkt_tab, which splits answers into sentences, is not here; {FETCH_SENTENCES}"
            raise EvaluationError(msg)
        return found

    def tasks(self, task: str, num_fewshot: int | None = None, folder: Path | None = None) -> dict[str, Any]:
        """lm-eval's task objects behind `task`, by name: one, or those of a group; `folder` is that of a user's task.

        Raises:
            EvaluationError: the task cannot be loaded.
        """
        found: dict[str, Any] = self._load(task, num_fewshot, folder)["tasks"]
        return found

    def evaluate(
        self,
        lm: EvaluatedLM,
        task: str,
        num_fewshot: int | None = None,
        subset: Subset | None = None,
        folder: Path | None = None,
        *,
        chat: bool = False,
    ) -> TaskResult:
        """What `lm` scores on `task`, or on a subset of it; see `evaluate_together`."""
        return self.evaluate_together(lm, (task,), num_fewshot, subset, folder, chat=chat)[task]

    def evaluate_together(
        self,
        lm: EvaluatedLM,
        tasks: Sequence[str],
        num_fewshot: int | None = None,
        subset: Subset | None = None,
        folder: Path | None = None,
        *,
        chat: bool = False,
    ) -> dict[str, TaskResult]:
        """What `lm`, given the requests of all `tasks` at once, scores on each, or on a subset.

        With `chat`, prompts are put into the model's chat template, worked examples as turns of a conversation. Where a
        task extracts answers in several ways, the first of them counts. `folder` is that of a user's tasks.

        Raises:
            EvaluationError: a task cannot be loaded, or gave scores that are not finite.
        """
        results, scored = self._answered(lm, tasks, num_fewshot, subset, folder, chat=chat)
        requests = [sum(len(sample["arguments"]) for _, sample in each) for each in scored.values()]
        computed = zip(shares(lm.positions, requests), shares(lm.scored_positions, requests), requests, strict=True)
        scoring_facts = {"fewshot_seed": FEWSHOT_SEED, **lm.scoring_facts}
        return {
            task: result_of(
                lm,
                task,
                self.tasks(task, num_fewshot, folder),
                scored[task],
                results["results"][task],
                counts,
                scoring_facts,
                {} if lm.content_free else self.sources(task, num_fewshot, folder),
            )
            for task, counts in zip(tasks, computed, strict=True)
        }

    def samples(
        self,
        lm: EvaluatedLM,
        task: str,
        num_fewshot: int | None = None,
        subset: Subset | None = None,
        folder: Path | None = None,
        *,
        chat: bool = False,
    ) -> _Samples:
        """(leaf, lm-eval's sample) of each item of `task`, with what `lm` was asked; ordered as `TaskResult.items`.

        Raises:
            EvaluationError: the task cannot be loaded.
        """
        _, scored = self._answered(lm, (task,), num_fewshot, subset, folder, chat=chat)
        return scored[task]

    def _answered(
        self,
        lm: EvaluatedLM,
        tasks: Sequence[str],
        num_fewshot: int | None,
        subset: Subset | None,
        folder: Path | None,
        *,
        chat: bool,
    ) -> tuple[Any, dict[str, _Samples]]:
        """lm-eval's results, and the samples of each of `tasks`."""
        import lm_eval

        loaded = {task: self._load(task, num_fewshot, folder) for task in tasks}
        together, chosen = {kind: _united(each[kind] for each in loaded.values()) for kind in _KINDS}, None
        if subset is not None:
            leaves = [{name: leaf.eval_docs for name, leaf in each["tasks"].items()} for each in loaded.values()]
            sources = [self.sources(task, num_fewshot, folder) for task in tasks]
            chosen = _united(map(subset.documents, leaves, sources))
            together["tasks"] = {name: together["tasks"][name] for name in chosen}
        asked = [leaf.eval_docs for leaf in together["tasks"].values()] if chosen is None else chosen.values()
        lm.items = sum(map(len, asked))
        lm.reset_counters()
        with _same_draws(), _finite(tasks):
            results: Any = lm_eval.evaluate(
                lm=lm,
                task_dict=together,
                samples=chosen,
                bootstrap_iters=0,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
            )
        return results, {task: samples_of(task, each["tasks"], results["samples"]) for task, each in loaded.items()}


def shares(total: int | None, requests: Sequence[int]) -> list[int | None]:
    """`total` divided in proportion to `requests`, into whole numbers that sum up to it; None stays None."""
    if total is None:
        return [None] * len(requests)
    bounds = [total * count // sum(requests) for count in accumulate(requests, initial=0)]
    return [end - begin for begin, end in pairwise(bounds)]


def _united(mappings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for mapping in mappings for name, value in mapping.items()}
