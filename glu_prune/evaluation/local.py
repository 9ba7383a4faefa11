"""lm-eval's stock benchmarks on data from a folder: no network, nothing downloaded, nothing cached.

The environment variable `GLU_PRUNE_DATA` names the folder; without it, lm-eval finds data as it always does. Below the
folder lie JSON Lines files, one per split, with the columns that lm-eval's own YAML files read: see `_SPLITS` for their
names. Prompts, answers and metrics stay lm-eval's. A group needs the files of all its tasks; a folder that has those of
some serves these by their own names, such as `mmlu_virology`.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError

VARIABLE = "GLU_PRUNE_DATA"
_SPLIT_SETTINGS = ("training_split", "validation_split", "test_split")


@dataclass(frozen=True)
class _Benchmark:
    """Where the parts of one benchmark are."""

    stock: str
    """The folder of its YAML file, below lm-eval's tasks."""
    splits: Mapping[str, str]
    """Split to file, first that which is scored; `*` in a file stands for each task of a group."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the stock task's."""
    language_data: str | None = None
    """The folder of NLTK data that its checkers need."""
    shots_from: str | None = None
    """The split that worked examples come from."""


_TRUTHFULQA = _Benchmark("truthfulqa", {"validation": "truthfulqa/validation.jsonl"})
_BENCHMARKS: Mapping[str, _Benchmark] = {
    "ifeval": _Benchmark("ifeval", {"train": "ifeval/input_data.jsonl"}, language_data="nltk_data"),
    "truthfulqa_mc1": _TRUTHFULQA,
    "truthfulqa_mc2": _TRUTHFULQA,
    "mmlu": _Benchmark("mmlu/default", {"test": "mmlu/test/*.jsonl", "dev": "mmlu/dev/*.jsonl"}, shots_from="dev"),
    "gsm8k": _Benchmark("gsm8k", {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"}, shots_from="train"),
    "arc_challenge": _Benchmark(
        "arc", {"test": "arc/ARC-Challenge_test.jsonl", "train": "arc/ARC-Challenge_train.jsonl"}, shots_from="train"
    ),
    # The file holds what the stock `process_docs` makes of the official columns, but for a second space that it leaves
    # before some choices of one item in 17: scores may differ a little from those on the official columns.
    "hellaswag": _Benchmark(
        "hellaswag", {"validation": "hellaswag/validation_preprocessed.jsonl"}, overrides={"process_docs": None}
    ),
    "winogrande": _Benchmark("winogrande", {"validation": "winogrande/validation.jsonl"}),
    "piqa": _Benchmark("piqa", {"validation": "piqa/validation.jsonl"}),
    "boolq": _Benchmark("super_glue/boolq", {"validation": "boolq/validation.jsonl"}),
    "lambada_openai": _Benchmark("lambada", {"test": "lambada/lambada_openai_test.jsonl"}),
    "wikitext": _Benchmark("wikitext", {"test": "wikitext2/test_document_level.jsonl"}),
}
TASKS = tuple(_BENCHMARKS)
"""What a data folder can serve as a whole."""


def fingerprint(task: str) -> str | None:
    """SHA-256 over the names and contents of the data files that `task` reads; None if it reads none of the folder's.

    Raises:
        EvaluationError: the folder, or a file in it, is missing.
    """
    if (folder := _folder(task)) is None:
        return None
    benchmark = _benchmark(task)
    patterns = [*benchmark.splits.values(), *([f"{benchmark.language_data}/**/*"] if benchmark.language_data else [])]
    found = []
    for pattern in patterns:
        paths = sorted(path for path in folder.glob(pattern) if path.is_file())
        if not paths:
            raise _lacks(folder, pattern, task)
        found += [(path.relative_to(folder).as_posix(), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return _digest(folder, tuple(found))


@lru_cache
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files as they are now: (name, size, time of change); read once, as every cell of a task asks."""
    digest = hashlib.sha256()
    for name, size, _ in files:
        digest.update(f"{name}\0{size}\0".encode())
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def load(task: str, num_fewshot: int | None) -> dict[str, Any] | None:
    """lm-eval's task dictionary for `task` on the folder's data; None if the folder is not for this task.

    Raises:
        EvaluationError: the folder, a file in it, or the worked examples asked for are missing.
    """
    if (folder := _folder(task)) is None:
        return None
    benchmark = _benchmark(task)
    if num_fewshot and benchmark.shots_from is None:
        msg = (
            f"{task}: {num_fewshot} worked examples asked for, but the folder that {VARIABLE} names has none for it; "
            f"ask for 0, or unset {VARIABLE}"
        )
        raise EvaluationError(msg)
    if benchmark.language_data:
        _use_language_data(folder, benchmark.language_data, task)
    manager = _manager(benchmark.stock)
    index = manager.task_index
    members = [_settings(folder, benchmark, index[leaf].cfg, task) for leaf in _leaves(task, manager)]
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
    file = next(iter(_benchmark(task).splits.values()))
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


def _benchmark(task: str) -> _Benchmark:
    """Where the parts of `task`, which the folder can serve, are: of a task of a group, its own files."""
    if (group := _group_of(task)) is None:
        return _BENCHMARKS[task]
    whole, own = _BENCHMARKS[group], task.removeprefix(f"{group}_")
    return replace(whole, splits={split: file.replace("*", own) for split, file in whole.splits.items()})


def _group_of(task: str) -> str | None:
    """The group that `task` is one task of; None for a group or any other task."""
    groups = (name for name, whole in _BENCHMARKS.items() if any("*" in file for file in whole.splits.values()))
    return next(
        (
            group
            for group in groups
            if task.startswith(f"{group}_") and task in _manager(_BENCHMARKS[group].stock).all_subtasks
        ),
        None,
    )


def _leaves(task: str, manager: Any) -> list[str]:
    """The task itself, or the tasks of the group."""
    subtasks: list[str] = manager.all_subtasks
    return [task] if task in subtasks else [name for name in subtasks if name.startswith(f"{task}_")]


def _group(stock: Mapping[str, Any], tasks: Mapping[str, Any]) -> Any:
    """The stock group, which says how scores are averaged, over the tasks themselves; it has no groups within."""
    from lm_eval.api.group import Group

    group = Group.from_config(dict(stock))
    for task in tasks.values():
        group.add(task)
    return group


def _folder(task: str) -> Path | None:
    """The data folder, if one is named and has a place for `task`."""
    if not (named := os.environ.get(VARIABLE)) or (task not in _BENCHMARKS and _group_of(task) is None):
        return None
    if not Path(named).is_dir():
        msg = f"{VARIABLE} is {named!r}, which is no folder; name a folder of benchmark data, or unset {VARIABLE}"
        raise EvaluationError(msg)
    return Path(named)


def _lacks(folder: Path, file: str, task: str) -> EvaluationError:
    return EvaluationError(
        f"{task}: {folder} (named by {VARIABLE}) lacks {file}; add it, or unset {VARIABLE} to let lm-eval fetch data"
    )


@cache
def _manager(stock: str) -> Any:
    """An index of one of lm-eval's task folders: the index of all of them takes seconds."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=str(Path(lm_eval.tasks.__file__).parent / stock), include_defaults=False)


def _settings(folder: Path, benchmark: _Benchmark, stock: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What differs from the stock settings of one task: its data, and no splits that have none."""
    name = str(stock["task"])
    files = {
        split: folder / file.replace("*", name.removeprefix(f"{task}_")) for split, file in benchmark.splits.items()
    }
    for path in files.values():
        if not path.is_file():
            raise _lacks(folder, str(path.relative_to(folder)), task)
    return {
        "task": name,
        "custom_dataset": _read,
        "dataset_kwargs": {"files": {split: str(path) for split, path in files.items()}},
        **{key: None for key in _SPLIT_SETTINGS if stock.get(key) not in (None, *files)},
        **benchmark.overrides,
    }


def _read(files: Mapping[str, str], **_: object) -> dict[str, Any]:
    """The items of each split, in memory."""
    from datasets import Dataset

    return {split: Dataset.from_list(_rows(Path(path))) for split, path in files.items()}


def _rows(path: Path) -> list[dict[str, Any]]:
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
    if not (folder / name / "tokenizers" / "punkt_tab" / "english").is_dir():
        raise _lacks(folder, f"{name}/tokenizers/punkt_tab/english", task)
    os.environ["NLTK_DATA"] = data
    if data not in nltk.data.path:
        nltk.data.path.insert(0, data)
    checkers()
