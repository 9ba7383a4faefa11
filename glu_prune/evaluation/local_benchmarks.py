"""The stock benchmarks that a data folder can serve: their files by split, and settings that differ from lm-eval's."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Benchmark:
    """Where the parts of one benchmark are."""

    stock: str | Path
    """The folder of its YAML file: lm-eval's, below its tasks, or one of this project's own."""
    splits: Mapping[str, str]
    """Split to file, first that which is scored; `*` in both stands for each task of a group."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings that differ from the stock task's."""
    language_data: str | None = None
    """The folder of NLTK data that its checkers need."""
    shots_from: str | None = None
    """The split that worked examples come from."""
    sample: Mapping[str, str] = field(default_factory=dict)
    """The same splits, with some of the items: read where the folder has these files, but none of the whole's."""
    sampled: bool = False
    """Whether `splits` are those of the sample."""
    whole: Mapping[str, int] = field(default_factory=dict)
    """Split to its number of items, as published."""

    def within(self, folder: Path) -> "Benchmark":
        """This benchmark, or its sample if that is all that `folder` has."""

        def has(splits: Mapping[str, str]) -> bool:
            return any(next(folder.glob(file), None) for file in splits.values())

        return replace(self, splits=self.sample, sampled=True) if has(self.sample) and not has(self.splits) else self

    def member(self, name: str) -> "Benchmark":
        """The part that one task of the group has; of a task alone, all."""
        return replace(
            self, splits={split.replace("*", name): file.replace("*", name) for split, file in self.splits.items()}
        )


_TRUTHFULQA = Benchmark("truthfulqa", {"validation": "truthfulqa/validation.jsonl"}, whole={"validation": 817})
BENCHMARKS: Mapping[str, Benchmark] = {
    "ifeval": Benchmark(
        "ifeval", {"train": "ifeval/input_data.jsonl"}, language_data="nltk_data", whole={"train": 541}
    ),
    "truthfulqa_mc1": _TRUTHFULQA,
    "truthfulqa_mc2": _TRUTHFULQA,
    "mmlu": Benchmark(
        "mmlu/default",
        {"test": "mmlu/test/*.jsonl", "dev": "mmlu/dev/*.jsonl"},
        shots_from="dev",
        whole={"test": 14042, "dev": 285},
    ),
    "gsm8k": Benchmark(
        "gsm8k",
        {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"},
        shots_from="train",
        whole={"test": 1319, "train": 7473},
    ),
    "arc_challenge": Benchmark(
        "arc",
        {"test": "arc/ARC-Challenge_test.jsonl", "train": "arc/ARC-Challenge_train.jsonl"},
        shots_from="train",
        whole={"test": 1172, "train": 1119},
    ),
    "arc_easy": Benchmark(
        "arc",
        {"test": "arc/ARC-Easy_test.jsonl", "train": "arc/ARC-Easy_train.jsonl"},
        shots_from="train",
        whole={"test": 2376, "train": 2251},
    ),
    # The file holds what the stock `process_docs` makes of the official columns, but for a second space that it leaves
    # before some choices of one item in 17: scores may differ a little from those on the official columns.
    "hellaswag": Benchmark(
        "hellaswag",
        {"validation": "hellaswag/validation_preprocessed.jsonl"},
        overrides={"process_docs": None},
        whole={"validation": 10042},
    ),
    "winogrande": Benchmark("winogrande", {"validation": "winogrande/validation.jsonl"}, whole={"validation": 1267}),
    "piqa": Benchmark("piqa", {"validation": "piqa/validation.jsonl"}, whole={"validation": 1838}),
    "boolq": Benchmark("super_glue/boolq", {"validation": "boolq/validation.jsonl"}, whole={"validation": 3270}),
    "lambada_openai": Benchmark("lambada", {"test": "lambada/lambada_openai_test.jsonl"}, whole={"test": 5153}),
    "wikitext": Benchmark("wikitext", {"test": "wikitext2/test_document_level.jsonl"}, whole={"test": 62}),
    "leaderboard_musr": Benchmark(
        "leaderboard/musr", {"*": "musr/*.jsonl"}, sample={"*": "musr_sample/*.jsonl"}, whole={"*": 756}
    ),
    "tinystories": Benchmark(Path(__file__).parent / "tasks", {"validation": "tinystories/tinystories_val.txt"}),
}
