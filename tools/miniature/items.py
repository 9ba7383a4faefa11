"""Writes the items of the embedded tasks: `python -m tools.miniature.items [DIR]`."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glu_prune.evaluation.evaluate import TASKS
from tools.miniature.world import World, arithmetic, beliefs, instructions, make_world, passages, recall, stories

DATA = TASKS / "data"
EXAMINATIONS: Mapping[str, tuple[Callable[[World, int], list[dict[str, Any]]], int]] = {
    "recall": (recall.items, 480),
    "beliefs": (beliefs.items, 400),
    "arithmetic": (arithmetic.items, 420),
    "stories": (stories.items, 400),
    "reading": (passages.items, 420),
    "instructions": (instructions.items, 420),
}
"""File stem to (generator, number of items)."""


def build(folder: Path) -> None:
    """Writes one JSON Lines file per examination to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, (items, count) in EXAMINATIONS.items():
        lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in items(make_world(), count))
        (folder / f"{stem}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    build(Path(sys.argv[1]) if sys.argv[1:] else DATA)
