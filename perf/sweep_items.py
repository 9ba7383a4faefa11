"""What the sweep is run on: a part of each benchmark's real items; and a random model, where no trained one is."""

import json
import random
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glu_prune.evaluation.capability import STUDY, Capability
from glu_prune.models.shapes import SHAPES, LlamaShape, write_random_model

SMALL = LlamaShape(
    hidden=512,
    width=2048,
    layers=4,
    heads=8,
    kv_heads=4,
    head_dim=64,
    vocabulary=32_000,
    tied=True,
    positions=2048,
)
LARGE = SHAPES["llama-3.2-1b"]
TOKENS = 32_000
CONTEXT = 2048
"""What the tokenizer calls its longest text; the model's own positions decide."""
_LANGUAGE_DATA = "nltk_data"
_DRAWS = 2000
_MMLU_SUBJECT = 246
"""Questions of MMLU that share worked examples, on average."""


@dataclass(frozen=True)
class Benchmark:
    """One of the study's benchmarks, as whole as its files are."""

    name: str
    tasks: tuple[str, ...]
    splits: Mapping[str, str]
    """Split to file below the data folder, first that which is scored; `*` stands for each subject."""
    rows: int = 1
    """Sequences per item and task that the usual loop computes, about: one per choice of several tokens."""
    settings: Mapping[str, Any] | None = None
    """How the task differs from lm-eval's own because of its files."""
    least: int = 1
    """Items that are asked at least, however small a part is."""
    items: int = 0
    """Of each task, or of all subjects."""

    @property
    def scored(self) -> str:
        """The file of the items."""
        return next(iter(self.splits.values()))

    @property
    def num_fewshot(self) -> int | None:
        """Worked examples, as the study asks for."""
        return _declared(self.tasks[0]).num_fewshot

    @property
    def fields(self) -> tuple[str, ...]:
        """Document fields that the study's records keep."""
        return _declared(self.tasks[0]).fields

    def files(self, folder: Path, task: str) -> dict[str, str]:
        """Split to file of one task, below `folder`."""
        return {split: str(folder / file.replace("*", _subject(task))) for split, file in self.splits.items()}


BENCHMARKS = (
    Benchmark(
        "truthfulqa", ("truthfulqa_mc1", "truthfulqa_mc2"), {"validation": "truthfulqa/validation.jsonl"}, rows=4
    ),
    Benchmark("mmlu", ("mmlu",), {"test": "mmlu/test/*.jsonl", "dev": "mmlu/dev/*.jsonl"}),
    Benchmark(
        "arc_challenge",
        ("arc_challenge",),
        {"test": "arc/ARC-Challenge_test.jsonl", "train": "arc/ARC-Challenge_train.jsonl"},
        rows=4,
        settings={"validation_split": None},
    ),
    Benchmark(
        "hellaswag",
        ("hellaswag",),
        {"validation": "hellaswag/validation_preprocessed.jsonl"},
        rows=4,
        settings={"process_docs": None, "training_split": None},
    ),
    Benchmark(
        "winogrande",
        ("winogrande",),
        {"validation": "winogrande/validation.jsonl"},
        rows=2,
        settings={"training_split": None},
    ),
    Benchmark(
        "piqa",
        ("piqa",),
        {"validation": "piqa/validation.jsonl"},
        rows=2,
        settings={"training_split": None, "test_split": None},
    ),
    Benchmark("boolq", ("boolq",), {"validation": "boolq/validation.jsonl"}, settings={"training_split": None}),
    Benchmark("lambada_openai", ("lambada_openai",), {"test": "lambada/lambada_openai_test.jsonl"}),
    Benchmark("ifeval", ("ifeval",), {"train": "ifeval/input_data.jsonl"}, least=32),
)
"""Those of the study's whose items are choices, last words, or instructions."""


def _subject(task: str) -> str:
    return task.removeprefix("mmlu_")


def _declared(task: str) -> Capability:
    """What the study declares of a benchmark, or of the group that `task` belongs to."""
    return next(each for each in STUDY if task == each.task or task.startswith(f"{each.task}_"))


def missing(data: Path, chosen: Sequence[Benchmark]) -> str | None:
    """The first file that `data` lacks."""
    needed = [file for each in chosen for file in each.splits.values()]
    if any(each.name == "ifeval" for each in chosen):
        needed.append(_LANGUAGE_DATA)
    return next((file for file in needed if not any(data.glob(file))), None)


def scale_down(data: Path, folder: Path, chosen: Sequence[Benchmark], scale: float, seed: int) -> list[Benchmark]:
    """Writes 1 / `scale` of each benchmark's items to `folder`, in the layout of `data`."""
    if any(each.name == "ifeval" for each in chosen):
        shutil.copytree(data / _LANGUAGE_DATA, folder / _LANGUAGE_DATA)
    return [_scaled(data, folder, each, scale, random.Random(f"{each.name} {seed}")) for each in chosen]


def _scaled(data: Path, folder: Path, whole: Benchmark, scale: float, draw: random.Random) -> Benchmark:
    found = {path.stem: path for path in sorted(data.glob(whole.scored))}
    rows = {name: _lines(path) for name, path in found.items()}
    count = max(whole.least, round(sum(map(len, rows.values())) / scale))
    names = list(rows)
    if "*" in whole.scored:
        shots = {name: (data / whole.splits["dev"].replace("*", name)).stat().st_size for name in names}
        names = _subjects({name: len(lines) for name, lines in rows.items()}, shots, count, draw)
        whole = replace(whole, tasks=tuple(f"{whole.tasks[0]}_{name}" for name in names))
    for name in names:
        own = rows[name] if len(names) > 1 else _sample(rows[name], count, draw)
        for pattern in whole.splits.values():
            file = pattern.replace("*", name)
            lines = own if pattern == whole.scored else _lines(data / file)
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text("".join(lines), encoding="utf-8")
        rows[name] = own
    return replace(whole, items=sum(len(rows[name]) for name in names))


def _subjects(sizes: Mapping[str, int], shots: Mapping[str, int], count: int, draw: random.Random) -> list[str]:
    """Whole subjects with about `count` questions that share no more, and prompts no longer, than in all of MMLU.

    As many as have its average size, rounded up; of many draws, the one that is nearest in questions and in the length
    of worked examples over them.
    """
    length = sum(sizes[name] * shots[name] for name in sizes) / sum(sizes.values())

    def distance(names: Sequence[str]) -> float:
        questions = sum(sizes[name] for name in names)
        shared = sum(sizes[name] * shots[name] for name in names) / questions
        return abs(questions / count - 1) + abs(shared / length - 1)

    several = min(len(sizes), -(-count // _MMLU_SUBJECT))
    nearest = min((draw.sample(sorted(sizes), several) for _ in range(_DRAWS)), key=distance)
    return sorted(nearest)


def _sample(lines: list[str], count: int, draw: random.Random) -> list[str]:
    """`count` of the lines, or all, in their order."""
    return [lines[index] for index in sorted(draw.sample(range(len(lines)), min(count, len(lines))))]


def _lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [line if line.endswith("\n") else f"{line}\n" for line in lines]


def write_model(folder: Path, shape: LlamaShape, dtype: str, data: Path, chosen: Iterable[Benchmark]) -> None:
    """A checkpoint with random weights, and a tokenizer trained on the text of all items."""
    from tools.miniature.tokenizer import train_tokenizer

    write_random_model(shape, folder, dtype)
    files = dict.fromkeys(file for each in chosen for file in each.splits.values())
    paths = [path for file in files for path in sorted(data.glob(file))]
    rows = (json.loads(line) for path in paths for line in _lines(path))
    train_tokenizer((" ".join(_strings(row)) for row in rows), TOKENS, CONTEXT).save_pretrained(folder)


def _strings(value: Any) -> Iterator[str]:
    """Every text in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)
