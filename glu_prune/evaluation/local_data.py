"""lm-eval's stock benchmarks on data from a folder: no network, nothing downloaded, nothing cached.

The environment variable `GLU_PRUNE_DATA` names the folder; without it, lm-eval finds data as it always does. Below the
folder lie JSON Lines files, one per split, with the columns that lm-eval's own YAML files read; `local_benchmarks` has
their names. Prompts, answers and metrics stay lm-eval's. A group needs the files of all its tasks; a folder that has
those of some serves these by their own names, such as `mmlu_virology`. Of MuSR a sample is read where the whole is not
there (`musr_sample/` for `musr/`): its scores are over 30 items, not 756, as tables and records say.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import lm_eval_tasks
from glu_prune.evaluation.data_digest import files_digest
from glu_prune.evaluation.local_benchmarks import BENCHMARKS, Benchmark

VARIABLE = "GLU_PRUNE_DATA"
SENTENCES = "tokenizers/punkt_tab/english"
"""Where NLTK's English sentence splitter is in its data."""
_SPLIT_SETTINGS = ("training_split", "validation_split", "test_split")


@dataclass(frozen=True)
class Split:
    """What the data folder holds of one split."""

    name: str
    items: int
    lacking: tuple[str, ...]
    """Files that are not there, relative to the folder."""
    whole: int | None
    """How many items the published split has, where that is known."""

    @property
    def complete(self) -> bool:
        """Whether it is there, and as long as the published one."""
        return not self.lacking and self.whole in (None, self.items)


TASKS = tuple(BENCHMARKS)
"""What a data folder can serve as a whole."""


def is_configured() -> bool:
    """Whether a data folder is named, be it there or not."""
    return bool(os.environ.get(VARIABLE))


def task_data_digest(task: str) -> str | None:
    """SHA-256 over the names and contents of the data files that `task` reads; None if it reads none of the folder's.

    Raises:
        EvaluationError: the folder, or a file in it, is missing.
    """
    if (folder := _folder(task)) is None:
        return None
    benchmark = _benchmark(task, folder)
    patterns = [*benchmark.splits.values(), *([f"{benchmark.language_data}/**/*"] if benchmark.language_data else [])]
    found: list[Path] = []
    for pattern in patterns:
        paths = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not paths:
            raise _lacks(folder, pattern, task)
        found += paths
    return files_digest(folder, found)


def load(task: str, num_fewshot: int | None) -> dict[str, Any] | None:
    """lm-eval's task dictionary for `task` on the folder's data; None if the folder is not for this task.

    Raises:
        EvaluationError: the folder, a file in it, or the data of worked examples is missing.
    """
    if (folder := _folder(task)) is None:
        return None
    benchmark = _benchmark(task, folder)
    if num_fewshot and benchmark.shots_from is None:
        msg = (
            f"{task}: {num_fewshot} worked examples asked for, but the folder that {VARIABLE} names has none for it; "
            f"ask for 0, or unset {VARIABLE}"
        )
        raise EvaluationError(msg)
    if benchmark.language_data:
        _use_language_data(folder, benchmark.language_data, task)
    manager = lm_eval_tasks.manager(benchmark.stock)
    index = manager.task_index
    members = [_settings(folder, benchmark, index[leaf].cfg, task) for leaf in lm_eval_tasks.leaves(task, manager)]
    # Being listed in a group is the only public way for an indexed task to get other settings than its file's.
    tasks = manager.load({"group": VARIABLE, "task": members})["tasks"]
    loaded: dict[str, Any] = manager.load([tasks[task] if task in tasks else _group(index[task].cfg, tasks)])
    return loaded


def texts(task: str, column: str) -> tuple[str, ...] | None:
    """One column of the items that `task` scores, file by file; None if the folder is not for this task.

    Raises:
        EvaluationError: the folder, a file in it, the column, or every item is missing.
    """
    if (folder := _folder(task)) is None:
        return None
    file = next(iter(_benchmark(task, folder).splits.values()))
    paths = sorted(folder.glob(file))
    if not paths:
        raise _lacks(folder, file, task)
    rows = [row for path in paths for row in _rows(path)]
    if not rows:
        msg = f"{task}: {folder / file} holds no items; replace the file"
        raise EvaluationError(msg)
    if not all(isinstance(row, dict) and isinstance(row.get(column), str) for row in rows):
        msg = f"{task}: a row of {folder / file} has no text in column {column!r}; replace the file"
        raise EvaluationError(msg)
    return tuple(row[column] for row in rows)


def is_sample(task: str) -> bool:
    """Whether the folder has only some of the items that `task` is made of."""
    return (folder := _folder(task)) is not None and _benchmark(task, folder).sampled


def splits(task: str) -> tuple[Split, ...] | None:
    """What the folder holds of each split that `task` reads; None if the folder is not for this task.

    Raises:
        EvaluationError: the folder is missing, or a file holds what is not JSON.
    """
    if (folder := _folder(task)) is None:
        return None
    benchmark = _benchmark(task, folder)
    members = [
        _files(folder, benchmark, leaf, task)
        for leaf in lm_eval_tasks.leaves(task, lm_eval_tasks.manager(benchmark.stock))
    ]
    if "*" in benchmark.splits:
        members = [{"*": path} for files in members for path in files.values()]
    return tuple(_split(folder, name, [each[name] for each in members], benchmark) for name in benchmark.splits)


def _split(folder: Path, name: str, paths: Sequence[Path], benchmark: Benchmark) -> Split:
    there = [path for path in paths if path.is_file()]
    lacking = tuple(path.relative_to(folder).as_posix() for path in paths if path not in there)
    return Split(name, sum(len(_rows(path)) for path in there), lacking, benchmark.whole.get(name))


def serves(task: str) -> bool:
    """Whether a data folder is named, and is the place where the data of `task` is to be found."""
    return is_configured() and stock_folder(task) is not None


def stock_folder(task: str) -> str | Path | None:
    """The folder of `task`, below lm-eval's tasks or one of ours; None for what no data folder can serve."""
    group = _group_of(task)
    return BENCHMARKS[group or task].stock if group or task in BENCHMARKS else None


def sentences(task: str) -> Path | None:
    """Where the checkers of `task` would find NLTK's sentence splitter, which may not be there; None if they need none.

    Raises:
        EvaluationError: the folder is missing.
    """
    if task not in BENCHMARKS or (name := BENCHMARKS[task].language_data) is None:
        return None
    if (folder := _folder(task)) is not None:
        return folder / name / SENTENCES
    import nltk

    try:
        return Path(str(nltk.data.find(f"{SENTENCES}/")))
    except LookupError:
        return Path(nltk.data.path[0]) / SENTENCES


def _benchmark(task: str, folder: Path) -> Benchmark:
    """Where the parts of `task`, which the folder can serve, are: of a task of a group, its own files."""
    if (group := _group_of(task)) is None:
        return BENCHMARKS[task].within(folder)
    return replace(BENCHMARKS[group].within(folder).member(task.removeprefix(f"{group}_")), whole={})


def _group_of(task: str) -> str | None:
    """The group that `task` is one task of; None for a group or any other task."""
    groups = (name for name, whole in BENCHMARKS.items() if any("*" in file for file in whole.splits.values()))
    return next(
        (
            group
            for group in groups
            if task.startswith(f"{group}_") and task in lm_eval_tasks.manager(BENCHMARKS[group].stock).all_subtasks
        ),
        None,
    )


def _group(config: Mapping[str, Any], tasks: Mapping[str, Any]) -> Any:
    """The stock group, which says how scores are averaged, over the tasks themselves; it has no groups within."""
    from lm_eval.api.group import Group

    group = Group.from_config(dict(config))
    for task in tasks.values():
        group.add(task)
    return group


def _folder(task: str) -> Path | None:
    """The data folder, if one is named and has a place for `task`."""
    if not serves(task):
        return None
    folder = os.environ[VARIABLE]
    if not Path(folder).is_dir():
        msg = f"{VARIABLE} is {folder!r}, which is no folder; name a folder of benchmark data, or unset {VARIABLE}"
        raise EvaluationError(msg)
    return Path(folder)


def _lacks(folder: Path, file: str, task: str) -> EvaluationError:
    return EvaluationError(
        f"{task}: {folder} (named by {VARIABLE}) lacks {file}; add it, or unset {VARIABLE} to let lm-eval fetch data"
    )


def _files(folder: Path, benchmark: Benchmark, leaf: str, task: str) -> dict[str, Path]:
    """Split to file, of one task of `task`, which is the task itself if it is no group."""
    own = benchmark.member(leaf.removeprefix(f"{task}_"))
    return {split: folder / file for split, file in own.splits.items()}


def _settings(folder: Path, benchmark: Benchmark, config: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What differs from the stock settings of one task: its data, and no splits that have none."""
    name = str(config["task"])
    files = _files(folder, benchmark, name, task)
    for path in files.values():
        if not path.is_file():
            raise _lacks(folder, str(path.relative_to(folder)), task)
    # A split that is named but has no file would have lm-eval look for it in the network, so it is switched off.
    return {
        "task": name,
        "custom_dataset": _read,
        "dataset_kwargs": {"files": {split: str(path) for split, path in files.items()}},
        **{key: None for key in _SPLIT_SETTINGS if config.get(key) not in (None, *files)},
        **benchmark.overrides,
    }


def _read(files: Mapping[str, str], **_: object) -> dict[str, Any]:
    """The items of each split, in memory: from a file, `datasets` would write a copy to its cache."""
    from datasets import Dataset

    return {split: Dataset.from_list(_rows(Path(path))) for split, path in files.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
    """One per line of JSON; of a plain text, the whole."""
    if path.suffix == ".txt":
        return [{"text": path.read_text(encoding="utf-8")}]
    rows = []
    # Not `splitlines`, which also splits at separators that JSON strings may hold.
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                msg = (
                    f"{path}:{number} is not JSON ({error.msg}); one JSON object per line is allowed; replace the file"
                )
                raise EvaluationError(msg) from error
    return rows


def _use_language_data(folder: Path, name: str, task: str) -> None:
    """Lets NLTK find its data in the folder before the checkers, which look for it when imported, are."""
    import nltk

    from glu_prune.evaluation.tasks.functions import checkers

    data = str(folder / name)
    if not (folder / name / SENTENCES).is_dir():
        raise _lacks(folder, f"{name}/{SENTENCES}", task)
    os.environ["NLTK_DATA"] = data
    if data not in nltk.data.path:
        nltk.data.path.insert(0, data)
    checkers()
