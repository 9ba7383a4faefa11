"""Records of what a model scored and of floors, made up."""

from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord, SizeRecord

KEY = "ab" * 32


def record(key: str = KEY, **changes: object) -> Record:
    fields = {
        "key": key,
        "model": "tiny-base",
        "weights": "cd" * 32,
        "arm": "dense",
        "task": "tiny_recall",
        "settings": {"dtype": "float32"},
        "versions": {"torch": "2"},
        "machine": "Linux",
        "created": "2026-01-01T00:00:00+00:00",
        "items": ("a", "b"),
        "fields": {},
        "outputs": ("x", "y\n<&"),
        "metrics": {"acc": ScoreRecord(score=0.5, values=(1.0, 0.0), weights=(1.0, 1.0))},
        "positions": 2,
        "scored_positions": 2,
        "size": SizeRecord(parameters=10, bytes=40, width=8, hidden=2, ties=0),
    }
    return Record(**{**fields, **changes})


NULL = ScoreRecord(score=0.25, values=(0.5, 0.0), weights=(3.0, 3.0))


FULL = record(
    fields={"band": (("rare",), ("common", "old"))},
    margins=(-0.125, 1e-300),
    lengths=(3, 0),
    flaws=(("loop", "cut"), ()),
    answers=("b", "#1"),
    truncated=None,
    metrics={
        "acc": ScoreRecord(score=0.5, values=(1.0, 0.1), weights=(1.0, 1.0)),
        "inst": ScoreRecord(
            score=2 / 3, values=(1.0, 0.5), weights=(1.0, 2.0), parts=((1.0,), (0.0, 1.0)), constant=(0.0, 0.5)
        ),
    },
)


FLOORS = FloorRecord(
    key=KEY, task="t", versions={}, created="now", items=("a", "b"), nulls={"the": {"acc": NULL}, "none": {}}
)


DISTANCES = DistanceRecord(
    key=KEY, model="tiny-base", weights="cd" * 32,
    arm="ppm-0.5", task="tiny_recall", settings={"dtype": "float32"}, versions={},
    machine="Linux", created="now", items=("a", "b"), fields={"band": (("rare",), ("common",))},
    divergences=(0.0, 0.25), tokens=(3, 1),
)  # fmt: skip
