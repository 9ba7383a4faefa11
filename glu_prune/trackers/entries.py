"""What trackers log of a session: parameters, and figures by step."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from glu_prune import options
from glu_prune.clean import one_line
from glu_prune.experiment.code import SCORING, code_fingerprint
from glu_prune.results.claims import ArmResult, CapabilityResult, ChangeResult, DistanceResult
from glu_prune.results.report import Report

_NOT_IN_NAMES = re.compile(r"[^\w./: -]", re.ASCII)
"""What MLflow refuses in the name of a figure."""
_PERCENT = 100
SEVERAL = "glu-prune"
"""The experiment of a session about several models."""


@dataclass(frozen=True)
class Entries:
    """One run of a tracker."""

    experiment: str
    """The model."""
    parameters: Mapping[str, str | int | float | bool]
    figures: Mapping[int, Mapping[str, float]]
    """By step, which is the share of neurons removed in percent; 0 for what is about no ratio."""


def entries(report: Report, config: pytest.Config) -> Entries:
    """What is to be logged of a session."""
    models = list(dict.fromkeys(each.model for each in report.cases))
    ratios = list(dict.fromkeys(row.at for row in _rows(report)))
    parameters = {
        "models": ", ".join(models),
        "arms": ", ".join(ratios),
        "evidence": config.getoption("--glu-evidence"),
        "glu-prune": version("glu-prune"),
        **(_how_run(config) if options.runs(config) else {}),
    }
    shown = {name: one_line(value) if isinstance(value, str) else value for name, value in parameters.items()}
    return Entries(one_line(models[0]) if len(models) == 1 else SEVERAL, shown, _figures(report))


def _how_run(config: pytest.Config) -> dict[str, str | int]:
    """What changes answers, where models were asked."""
    return {
        **options.settings(config).facts,
        "limit": config.getoption("--glu-limit") or "all",
        "lm-eval": version("lm-eval"),
        "scoring code": code_fingerprint(SCORING),
    }


def _figures(report: Report) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = defaultdict(dict)
    files = _files(report)
    for row in _rows(report):
        step = 0 if row.ratio is None else round(_PERCENT * row.ratio)
        about = "/".join(filter(None, (files[row.file], row.capability, _kind(row), row.named)))
        found[step] |= {_NOT_IN_NAMES.sub("_", f"{about}/{name}"): value for name, value in _values(row)}
    outcomes = Counter(f"verdicts/{row.outcome}" for row in report.claims)
    found[0] |= {**outcomes, **Counter(f"cases/{case.result}" for case in report.cases)}
    return found


def _rows(report: Report) -> tuple[ArmResult, ...]:
    return (*report.scores, *report.distances, *report.costs)


def _files(report: Report) -> dict[str, str]:
    """What tells the figures of each file from those of others: nothing where there is one, else as short as can be."""
    names = list(dict.fromkeys(row.file for row in _rows(report)))
    if len(names) == 1:
        return {names[0]: ""}
    stems = Counter(Path(name).stem for name in names)
    return {name: Path(name).stem if stems[Path(name).stem] == 1 else name for name in names}


def _kind(row: ArmResult) -> str:
    """What tells figures of one capability from each other."""
    return row.metric if isinstance(row, CapabilityResult) else row.distance if isinstance(row, DistanceResult) else ""


def _values(row: ArmResult) -> Iterator[tuple[str, float]]:
    """The figures of a row, without those that are open or not measured."""
    found: dict[str, float | None] = {"low": row.low, "high": row.high, "p": row.p_ratios}
    if isinstance(row, ChangeResult):
        found |= {"score": row.pruned, "dense": row.dense, "delta": row.delta}
    if isinstance(row, DistanceResult):
        found["value"] = row.value
    return ((name, value) for name, value in found.items() if value is not None)
