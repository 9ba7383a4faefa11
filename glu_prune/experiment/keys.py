"""Keys of cells: SHA-256 over everything that changes the answer, and over nothing else."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.evaluation import local_data, user_tasks
from glu_prune.evaluation.backend import Backend
from glu_prune.experiment.code import (
    CHOOSING,
    DISTANCES,
    MEASURING,
    METERING,
    SCORING,
    Roots,
    code_fingerprint,
    library_versions,
)
from glu_prune.experiment.machine import accelerator, machine
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.ratio import show_ratio

if TYPE_CHECKING:
    from glu_prune.experiment.cell import Arm, Cell, DistanceCell, FloorCell, SeriesCell, Settings
    from glu_prune.models.source import ModelSource

_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""What decides how many threads and which GPUs a process uses."""

_NO_PART_IN_A_SERIES: Mapping[str, str] = {
    "batch_size": "a workload has its own",
    "backend": "no cost is measured of one",
    "chat_template": "prompts are given as tokens, or encoded as they are",
}
"""Settings of evaluations that change no measurement, and why."""
_NO_PART_IN_ANSWERS: Mapping[str, str] = {
    "dtype_why": "the dtype itself is one",
    "arm.checkpoint": "a name; what it stands for is the content of the arm's `source`",
}
"""What changes nothing at all, and why."""

Fact = object
"""Anything that is JSON."""


def cell_key(cell: "Cell") -> str:
    """Of scores: they depend on the kind of accelerator, but not on the machine around it."""
    facts = {
        **_models(cell.source, (cell.arm,)),
        "task": [cell.task, cell.num_fewshot, *cell.fields],
        "together": cell.tasks,
        "subset": asdict(cell.subset) if cell.subset else None,
        "data": _data(cell.task, cell.folder),
        **_run_by(cell.settings, {}),
    }
    return _digest(facts, SCORING, cell.versions)


def distance_key(cell: "DistanceCell") -> str:
    """Of distances: of scores, but that both models predict, and no other task with this one."""
    facts = {
        **_models(cell.source, (cell.reference, cell.arm)),
        "distance": [cell.task, cell.num_fewshot, *cell.fields],
        "subset": asdict(cell.subset) if cell.subset else None,
        "data": _data(cell.task, cell.folder),
        **_run_by(cell.settings, {}),
    }
    return _digest(facts, DISTANCES, library_versions())


def floor_key(cell: "FloorCell") -> str:
    """Of floors: no model computes them, so that no setting of models is among the facts."""
    facts = {
        "floors": [cell.task, cell.num_fewshot],
        "chat": cell.chat.fingerprint if cell.chat else None,
        "data": _data(cell.task, cell.folder),
    }
    return _digest(facts, SCORING, library_versions())


def series_key(cell: "SeriesCell") -> str:
    """Of costs of a workload, which belong to one machine."""
    from glu_prune.efficiency.workload import texts

    facts = {
        **_models(cell.source, cell.arms),
        "workload": asdict(cell.workload),
        "prompts": hashlib.sha256("\0".join(texts(cell.workload)).encode()).hexdigest(),
        "effort": asdict(cell.effort),
        **_run_by(cell.settings, _NO_PART_IN_A_SERIES),
        **_here(),
    }
    return _digest(facts, MEASURING, library_versions())


def cost_key(cell: str) -> str:
    """Of what answering the questions of the cell whose key is `cell` cost on this machine."""
    return _digest({"cost": cell, **_here()}, METERING, {})


def dtype_key(source: "ModelSource", settings: "Settings") -> str:
    """Of the dtype that is taken for a model where that is left open."""
    facts = {"dtype": source.fingerprint, "device": settings.device, "attention": settings.attention, **_here()}
    return _digest(facts, CHOOSING, library_versions())


def _models(source: "ModelSource", arms: Iterable["Arm"]) -> dict[str, Fact]:
    """The weights, and how they are pruned."""
    every = tuple(arms)
    more = {
        "calibration": [arm.calibration_digest for arm in every],
        "targets": [str(arm.target or "") for arm in every],
        "adapters": [arm.adapter_digest for arm in every],
        "checkpoints": [arm.source.fingerprint if arm.source else "" for arm in every],
    }
    return {
        "weights": source.fingerprint,
        "arms": [[arm.criterion, show_ratio(arm.ratio), arm.seed] for arm in every],
        "criteria": [criterion(arm.criterion).source_digest if arm.criterion else None for arm in every],
        **{name: each for name, each in more.items() if any(each)},
    }


def _run_by(settings: "Settings", without: Mapping[str, str]) -> dict[str, Fact]:
    """How models are run: every setting, but those that `without` gives a reason for; and on what kind of GPU."""
    left_out = {**without, **_NO_PART_IN_ANSWERS}
    facts = {name: value for name, value in settings.facts.items() if name not in left_out}
    if facts.get("backend"):
        facts["backend"] = Backend.parse(settings.backend).identity
    return {"settings": facts, "accelerator": accelerator(settings)}


def _here() -> dict[str, Fact]:
    """The machine, and how much of it this process may use."""
    return {"machine": [machine(), *(f"{name}={os.environ.get(name)}" for name in _ENVIRONMENT)]}


def _data(task: str, folder: Path | None) -> str | None:
    """What identifies the items and the settings of `task`, where they do not come with a library."""
    return local_data.task_data_digest(task) if folder is None else user_tasks.user_tasks_digest(folder)


def _digest(facts: Mapping[str, Fact], code: Roots, versions: Mapping[str, str]) -> str:
    every = {**facts, "code": code_fingerprint(code), "versions": versions}
    return hashlib.sha256(json.dumps(every, sort_keys=True).encode()).hexdigest()
