"""Whether the data of tasks is here, and what their checkers need."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import lm_eval_tasks, local_data, user_tasks
from glu_prune.evaluation.evaluate import FETCH_SENTENCES, is_embedded
from glu_prune.evaluation.local_data import Split
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.loggers import errors_only
from glu_prune.readiness.network import offline

_CHECKERS = ("langdetect", "immutabledict", "nltk")
"""What lm-eval's checkers of instructions import."""
PREFETCH = "`glu-prune prefetch` with the same files fetches it"


def data(run: Run) -> Iterator[CheckResult]:
    """The data of every task, those that come with this package in one row."""
    tasks = run.requirements.tasks
    embedded = [task for task in tasks if is_embedded(task) and task not in local_data.TASKS]
    if embedded:
        yield CheckResult(f"data of {len(embedded)} embedded tasks", "ready", "in this package")
    for task in tasks:
        if task not in embedded:
            yield items(task)
        yield from sentences(task)
    for folder in run.requirements.folders:
        yield own(folder)


def own(folder: Path) -> CheckResult:
    """The data of the user's tasks in `folder`."""
    what, places = f"data of tasks in {folder.name}", user_tasks.data_places(folder)
    if (gone := next((place for place in places if not user_tasks.read_at(place)), None)) is not None:
        return CheckResult(
            what, "missing", f"{gone} is not there", f"it is read from {Path.cwd()}; run elsewhere, or mend {folder}"
        )
    return CheckResult(what, "ready", ", ".join((str(folder), *places)))


def items(task: str) -> CheckResult:
    """The items of one of lm-eval's own tasks: in the data folder if that is for them, else in the cache."""
    try:
        splits = local_data.splits(task)
        return in_cache(task) if splits is None else _in_folder(task, splits)
    except EvaluationError as error:
        return CheckResult(f"data of {task}", "missing", str(error))


def _in_folder(task: str, splits: Sequence[Split]) -> CheckResult:
    detail = "; ".join(map(_found, splits))
    if all(split.complete for split in splits):
        return CheckResult(f"data of {task}", "ready", detail)
    if local_data.is_sample(task) and not any(split.lacking for split in splits):
        return CheckResult(f"data of {task}", "ready", f"{detail}; a sample, which will do")
    incomplete = " and ".join(split.name for split in splits if not split.complete)
    remedy = f"complete {incomplete} in the folder that {local_data.VARIABLE} names; or name none, and prefetch"
    # A sample can be run, and records say which items it has; a task of which a file is missing or empty cannot.
    sampled = all(split.items and not split.lacking for split in splits)
    return CheckResult(f"data of {task}", "note" if sampled else "missing", detail, remedy)


def _found(split: Split) -> str:
    """`test: 14,042 of 14,042 items`, and which files are not there."""
    of = "" if split.whole is None else f" of {split.whole:,}"
    more = f" and {len(split.lacking) - 1} more" if len(split.lacking) > 1 else ""
    lacks = f", lacks {split.lacking[0]}{more}" if split.lacking else ""
    return f"{split.name}: {split.items:,}{of} items{lacks}"


def in_cache(task: str) -> CheckResult:
    """The data that lm-eval would load with `datasets`, which is asked for it with the network switched off."""
    wanted = lm_eval_tasks.datasets_of(task, local_data.stock_folder(task))
    lacking = [each for each in wanted if not cached(each)]
    names = ", ".join(dict.fromkeys(each.path for each in wanted))
    if not lacking:
        return CheckResult(f"data of {task}", "ready", f"{names} in the cache of datasets")
    count = f" ({len(lacking)} of {len(wanted)} parts)" if len(wanted) > 1 else ""
    folder = f"; or name a folder that has it: --data DIR, {local_data.VARIABLE}" if task in local_data.TASKS else ""
    found = f"{names} not in the cache of datasets{count}"
    return CheckResult(f"data of {task}", "missing", found, f"{PREFETCH}{folder}", downloadable=True)


def cached(dataset: lm_eval_tasks.Dataset) -> bool:
    """Whether `dataset` can be loaded without a connection."""
    with offline(), errors_only():
        from datasets import load_dataset_builder

        try:
            load_dataset_builder(dataset.path, dataset.name, **dict(dataset.settings))
        except (OSError, ValueError):
            return False
    return True


def sentences(task: str) -> Iterator[CheckResult]:
    """NLTK's sentence splitter, for a task whose checkers count sentences."""
    try:
        place = local_data.sentences(task)
    except EvaluationError:
        return  # the row about the data says what is wrong with the folder
    if place is None:
        return
    what = f"sentence splitter of {task}"
    if place.is_dir():
        yield CheckResult(what, "ready", f"NLTK's punkt_tab, {place}")
    else:
        downloadable = not local_data.serves(task)
        yield CheckResult(what, "missing", f"NLTK's punkt_tab not in {place}", FETCH_SENTENCES, downloadable)


def checkers(run: Run) -> Iterator[CheckResult]:
    """The packages that check instructions, of which one detects languages."""
    if not run.requirements.tasks:
        return
    absent = [name for name in _CHECKERS if find_spec(name) is None]
    if absent:
        found = f"not installed: {', '.join(absent)}"
        yield CheckResult("checkers", "missing", found, "pip install 'lm-eval[ifeval]'")
    else:
        yield CheckResult("checkers", "ready", ", ".join(_CHECKERS))
