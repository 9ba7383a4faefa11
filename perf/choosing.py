"""How often a certificate of `glu-prune choose` fails, over simulated models whose true losses are known.

    python -m perf.choosing

Each model has two capabilities that lose more and more as neurons go. Beside the certificate stands what many do
without one: the largest ratio at which the scores of all items lose less than the margin.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord, SizeRecord
from glu_prune.judgement.case import Case, Entry, Requirement
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.choice import ChoiceCase, ChoiceClaim
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.sources import Evaluation

RATIOS = tuple(Decimal(number) / 20 for number in range(1, 13))
MARGIN = 0.05
ITEMS = 600
_SEED = 20261130
_SKILLS = {name: Capability(name, name, "acc", "a skill") for name in ("first", "second")}
_RIGHT, _CHURN = 0.8, 0.02
"""Items that the dense model gets right; those that get better for no reason, and as many that get worse."""

Losses = Mapping[str, Mapping[Decimal, float]]
"""Capability and ratio to the true loss."""


@dataclass
class Simulated:
    """Answers of a model, and of it at each ratio; what is lost stays lost as neurons go."""

    rng: np.random.Generator
    losses: Losses
    items: int = ITEMS
    _answers: dict[str, dict[Arm, list[float]]] = field(default_factory=dict)

    def answers(self, skill: str) -> dict[Arm, list[float]]:
        """By arm, for each item."""
        if skill not in self._answers:
            dense = self.rng.random(self.items) < _RIGHT
            fate = self.rng.random(self.items)
            found = {DENSE: dense.astype(float).tolist()}
            for ratio, loss in self.losses[skill].items():
                lost = dense & (fate < (loss + _CHURN) / _RIGHT)
                gained = ~dense & (fate < _CHURN / (1 - _RIGHT))
                found[Arm("ppm", ratio)] = np.where(lost, 0.0, np.where(gained, 1.0, dense)).tolist()
            self._answers[skill] = found
        return self._answers[skill]

    def scores(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """As records of runs have them."""
        del case
        for part in _grown(needed):
            yield self._on(part, needed)

    def _on(self, part: slice, needed: Requirement) -> Evaluation:
        items = tuple(map(str, range(self.items)))[part]
        answers = self.answers(needed.capability.task)
        records = {arm: _record(arm, items, answers[arm][part]) for arm in needed.arms}
        nulls = {"nothing": {"acc": _scored([0.0] * len(items))}}
        floors = FloorRecord(key="k", task="t", versions={}, created="now", items=items, nulls=nulls)
        return Evaluation(PairedScores(needed.capability, records, floors), records, floors=floors)

    def seems_allowed(self, ratio: Decimal) -> bool:
        """Whether the scores of all items lose less than the margin."""
        both = [self.answers(skill) for skill in self.losses]
        return all(np.mean(each[DENSE]) - np.mean(each[Arm("ppm", ratio)]) < MARGIN for each in both)


def _grown(needed: Requirement) -> Iterator[slice]:
    """The places of the items, and of fewer after each piece but the last."""
    if needed.part is None:
        yield slice(None)
        return
    for end in (each.stop for each in needed.pieces or (needed.part,)):
        yield slice(needed.part.start, end, needed.part.step)


def _scored(values: list[float]) -> ScoreRecord:
    return ScoreRecord(score=float(np.mean(values)), values=tuple(values), weights=(1.0,) * len(values))


def _record(arm: Arm, items: tuple[str, ...], values: list[float]) -> Record:
    parameters = 1000 - int(1000 * arm.ratio)
    return Record(
        key="k", model="m", weights="w", arm=arm.label, task="t", settings={}, versions={}, machine="", created="now",
        items=items, fields={}, outputs=items, metrics={"acc": _scored(values)}, positions=None, scored_positions=None,
        size=SizeRecord(parameters=parameters, bytes=4 * parameters, width=parameters, hidden=10, ties=0),
    )  # fmt: skip


def case() -> ChoiceCase:
    """To keep both skills with as few parameters as can be."""
    said = {"choose": dict.fromkeys(_SKILLS, MARGIN), "ratios": RATIOS, "minimise": "parameters", "why": "w"}
    claim = ChoiceClaim.model_validate(said)
    return ChoiceCase.of(Entry("f.yaml", 1, Experiment(model="m", expect=(claim,)), _SKILLS), claim, "m-choice", None)


def _losses(rng: np.random.Generator, *, at_the_margin: bool) -> Losses:
    """Of any steepness, crossing the margin anywhere among the ratios, or nowhere."""

    def curve() -> dict[Decimal, float]:
        crossing, power = rng.uniform(0.02, 0.9), rng.uniform(0.5, 3)
        return {ratio: min(0.6, MARGIN * (float(ratio) / crossing) ** power) for ratio in RATIOS}

    if not at_the_margin:
        return {skill: curve() for skill in _SKILLS}
    first, second = _SKILLS
    return {first: {ratio: min(MARGIN, loss) for ratio, loss in curve().items()}, second: dict.fromkeys(RATIOS, 0.0)}


@dataclass(frozen=True)
class Chosen:
    """What came of one simulated model."""

    losses: Losses
    certified: tuple[Decimal, ...]
    naive: Decimal | None
    """The largest ratio that the scores of all items seem to allow."""

    def worst(self, ratio: Decimal) -> float:
        """The larger of the true losses."""
        return max(each[ratio] for each in self.losses.values())

    @property
    def fails(self) -> bool:
        """Whether something is certified that loses the margin or more."""
        return any(self.worst(ratio) >= MARGIN for ratio in self.certified)

    @property
    def naive_fails(self) -> bool:
        """The same of the naive choice."""
        return self.naive is not None and self.worst(self.naive) >= MARGIN

    @property
    def behind(self) -> int | None:
        """Steps of the grid by which the choice falls short of the best; None where no ratio is allowed."""
        allowed = [place for place, ratio in enumerate(RATIOS, start=1) if self.worst(ratio) < MARGIN]
        reached = max((RATIOS.index(ratio) + 1 for ratio in self.certified), default=0)
        return max(allowed) - reached if allowed else None


def simulated(models: int, items: int = ITEMS, *, at_the_margin: bool = False) -> list[Chosen]:
    """What is chosen of each of so many models; `at_the_margin`, losses end there, where a test errs most often."""
    rng, found = np.random.default_rng(_SEED), []
    for _ in range(models):
        source = Simulated(rng, _losses(rng, at_the_margin=at_the_margin), items)
        (row,) = case().judge(source).tables.choices  # type: ignore[arg-type]  # no choice asks for more of a source
        passed = (each for each in row.candidates if each.state in ("certified", "chosen"))
        ratios = tuple(Decimal(each.target.removeprefix("ratio ")) for each in passed)
        naive = max(filter(source.seems_allowed, RATIOS), default=None)
        found.append(Chosen(source.losses, ratios, naive))
    return found


def rates(found: Sequence[Chosen]) -> tuple[float, float, float, float]:
    """(share of certificates that fail, of naive choices, median steps behind the best, mean steps)."""
    behind = [each.behind for each in found if each.behind is not None]
    fails, naive = (float(np.mean(each)) for each in ([c.fails for c in found], [c.naive_fails for c in found]))
    return fails, naive, float(np.median(behind)), float(np.mean(behind))


def main() -> None:
    """Prints a table."""
    models = 1000
    columns = ("items", "losses", "certificates that fail", "naive choices that fail", "steps of 0.05 behind the best")
    sys.stdout.write(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n")
    for items in (ITEMS, 4 * ITEMS):
        for at_the_margin in (False, True):
            fails, naive, median, mean = rates(simulated(models, items, at_the_margin=at_the_margin))
            where = "end at the margin" if at_the_margin else "cross it"
            row = f"| {items:,} | {where} | {fails:.1%} | {naive:.1%} | median {median:g}, mean {mean:.1f} |\n"
            sys.stdout.write(row)


if __name__ == "__main__":
    main()
