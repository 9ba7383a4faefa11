"""The items of the logs: some of two tasks of the embedded suite, `python items.py FILE` writes those of one."""

import json
import sys
from pathlib import Path

import glu_prune

_DATA = Path(glu_prune.__file__).parent / "evaluation" / "tasks" / "data"


def recall() -> list[dict]:
    """Twelve questions about facts, of all bands."""
    return _some("recall", 40)


def sums() -> list[dict]:
    """Four sums."""
    return _some("arithmetic", 105)


def _some(name: str, step: int) -> list[dict]:
    return [json.loads(line) for line in (_DATA / f"{name}.jsonl").read_text().splitlines()[::step]]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(json.dumps(each) + "\n" for each in recall()))
