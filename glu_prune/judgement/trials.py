"""A choice among prunings, carried out: candidates are tried on one half of the items, and certified on the other."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from glu_prune.efficiency.cost_metrics import COST_METRICS
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.subset import Subset, pieces
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import SizeRecord
from glu_prune.judgement.case import Requirement
from glu_prune.judgement.choosing import HOPELESS, Candidate, Kept, certified, in_order, p_of
from glu_prune.judgement.explanation import groups
from glu_prune.judgement.measured_costs import MeasuredCosts
from glu_prune.judgement.verdict import digits, more_items, something_to_lose
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Interval, Outcome
from glu_prune.results.choices import CandidateResult, ChoiceResult, KeptCapability, State
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.kinds.choice import ChoiceCase
    from glu_prune.judgement.sources import Evaluation, Source

Minimised = Literal["bytes", "parameters", "time_per_output_token", "time_to_first_token", "joules_per_token"]
EXACT: Mapping[str, str] = {"bytes": "B", "parameters": ""}
"""Costs that are known of a model without measuring, and their units; others are measured, of those that pass."""
LOSES = 0.05
"""At this level a candidate is shown, on the search half, to lose too much; larger ratios are not tried then."""


@dataclass(frozen=True)
class _Looked:
    """One capability of one candidate on some items."""

    capability: Capability
    arm: Arm
    kept: Kept
    found: "Evaluation"

    @property
    def row(self) -> KeptCapability:
        low, high = self.kept.change.interval()
        scores = self.found.scores
        return KeptCapability(
            capability=self.capability.name,
            metric=self.capability.metric,
            better="higher" if self.kept.better > 0 else "lower",
            margin=self.kept.margin,
            items=scores.items,
            dense=scores.score(DENSE),
            pruned=scores.score(self.arm),
            delta=self.kept.change.difference,
            low=low,
            high=high,
            p=self.kept.p if self.kept.margin else None,
        )

    @property
    def lost(self) -> str:
        """In words."""
        return f"{self.capability.name} lost {digits(-self.kept.better * self.kept.change.difference)}"


def _p(looked: Sequence[_Looked]) -> float:
    return p_of({each.capability.name: each.kept for each in looked})


def _loses(looked: Sequence[_Looked]) -> bool:
    return any(each.kept.p_lost <= LOSES for each in looked)


def _worst(looked: Sequence[_Looked]) -> _Looked:
    return max(looked, key=lambda each: each.kept.p)


@dataclass
class _Tried:
    """A candidate, and what is known of it so far."""

    arm: Arm
    size: SizeRecord
    search: Sequence[_Looked]
    second: Sequence[_Looked] = field(default=())
    others: Sequence[_Looked] = field(default=())
    state: State = "beaten"
    cost: float | None = None
    change: Interval | None = None
    tables: CaseTables = field(default_factory=CaseTables)

    @property
    def loses(self) -> bool:
        """Whether the search half shows that it loses too much."""
        return _loses(self.search)

    @property
    def row(self) -> CandidateResult:
        return CandidateResult(
            arm=self.arm.label,
            criterion=str(self.arm.criterion),
            target=str(self.arm.target or f"ratio {show_ratio(self.arm.ratio)}"),
            state=self.state,
            cost=self.cost,
            change=self.change,
            width=self.size.width,
            parameters=self.size.parameters,
            bytes=self.size.bytes,
            search=tuple(each.row for each in self.search),
            certification=tuple(each.row for each in self.second),
            checked=tuple(each.row for each in self.others),
        )


class Trials:
    """The candidates of one choice."""

    def __init__(self, case: "ChoiceCase", source: "Source") -> None:
        """Nothing is tried yet."""
        self._case = case
        self._source = source
        self._claim = case.claim
        self._failed: _Tried | None = None
        self._costs: MeasuredCosts | None = None
        self._pieces: dict[str, tuple[Subset, ...]] = {}
        """Of each capability, in which pieces its search half is asked: what loses much shows it early."""

    def result(self) -> CaseResult:
        """What is chosen.

        Raises:
            GluPruneError: something cannot be run or measured.
        """
        if complaint := self._nothing_to_keep():
            return self._told([], None, complaint)
        tried = [each for group in self._case.candidates for each in self._searched(group)]
        order = in_order(Candidate(each, _p(each.search), self._size(each.size)) for each in tried if not each.loses)
        passed = self._certified([each.arm for each in order])
        self._measure(tried, passed)
        chosen = min(passed, key=lambda each: each.cost or 0.0, default=None)
        if chosen is not None:
            chosen.state = "chosen"
            chosen.others = list(self._checked(chosen.arm))
        return self._told(tried, chosen, self._why(tried))

    def _nothing_to_keep(self) -> str:
        """Why a promise to keep something would be empty; no reason if it would not."""
        for name, capability in self._case.kept.items():
            half = self._case.halves(capability)[0]
            answered = next(iter(self._source.scores(self._case, Requirement(capability, (DENSE,), part=half))))
            found = something_to_lose(answered.scores, 1)
            if found.state != "shown":
                return f"{name}: {found.reason}, so that keeping it would promise nothing"
            record = answered.records[DENSE]
            units = len({*(record.clusters(capability.cluster) or record.items)})
            self._pieces[name] = tuple(pieces(capability, half, units))
        return ""

    def _searched(self, group: Sequence[Arm]) -> Iterator[_Tried]:
        """Candidates of one criterion as ratios grow, until one is shown to lose too much."""
        for arm in group:
            one = self._tried(arm)
            if _p(one.search) > HOPELESS:
                one.state = "lost too much" if one.loses else "unlikely"
            yield one
            if one.loses:
                return

    def _tried(self, arm: Arm) -> _Tried:
        """What the search half says of each capability, or as much of it as shows that one loses too much.

        Stopping there costs no level: whatever the search finds, the other half certifies.
        """
        needed = [
            Requirement(capability, (DENSE, arm), part=self._case.halves(capability)[0], pieces=self._pieces[name])
            for name, capability in self._case.kept.items()
        ]
        looks: Sequence[_Looked] = ()
        for found in zip_longest(*(self._looks(each) for each in needed)):
            looks = [new or old for new, old in zip_longest(found, looks)]
            if _loses(looks):
                break
        return _Tried(arm, looks[0].found.records[arm].size, looks)

    def _certify(self, arm: Arm) -> list[_Looked]:
        """What the other half says."""
        every = self._case.kept.values()
        needed = (Requirement(each, (DENSE, arm), part=self._case.halves(each)[1]) for each in every)
        return [next(self._looks(each)) for each in needed]

    def _checked(self, arm: Arm) -> Iterator[_Looked]:
        """The chosen one on items that neither half has."""
        for capability in self._case.kept.values():
            if (part := self._case.others(capability)) is not None:
                yield next(self._looks(Requirement(capability, (DENSE, arm), part=part)))

    def _looks(self, needed: Requirement) -> Iterator[_Looked]:
        """After each piece of what is asked."""
        capability, arm = needed.capability, needed.arms[-1]
        margin = self._claim.choose.get(capability.name, 0.0)
        for found in self._source.scores(self._case, needed):
            kept = Kept(found.scores.contrast(arm, DENSE), margin, found.scores.better)
            yield _Looked(capability, arm, kept, found)

    def _certified(self, order: Sequence[_Tried]) -> list[_Tried]:
        for each in order:
            each.state = "not tested"

        def p(one: _Tried) -> float:
            one.second, one.state = self._certify(one.arm), "certified"
            return _p(one.second)

        passed, self._failed = certified(order, p, 1 - self._claim.confidence)
        if self._failed is not None:
            self._failed.state = "failed"
        return passed

    def _size(self, size: SizeRecord) -> float:
        """What stands for the cost until that is measured."""
        return float(size.parameters if self._claim.minimise == "parameters" else size.bytes)

    def _measure(self, tried: Sequence[_Tried], passed: Sequence[_Tried]) -> None:
        if self._claim.minimise in EXACT:
            for each in tried:
                each.cost = self._size(each.size)
        elif passed:
            measured = self._source.measured(self._case, [each.arm for each in passed])
            costs = self._costs = MeasuredCosts(COST_METRICS[self._claim.minimise], measured)
            for each in passed:
                each.cost, each.change = costs.mean(each.arm.label), costs.change(each.arm.label)
                each.tables = costs.tables(self._case.model, each.arm)

    def _dense_cost(self, tried: Sequence[_Tried]) -> float | None:
        if self._claim.minimise not in EXACT:
            return self._costs.mean() if self._costs else None
        return self._size(tried[0].search[0].found.records[DENSE].size) if tried else None

    def _why(self, tried: Sequence[_Tried]) -> str:
        """Why there is no cheaper choice."""
        if self._failed is not None:
            worst = _worst(self._failed.second)
            return (
                f"{self._failed.arm.label} is not: {worst.lost} on the certification half, margin "
                f"{worst.kept.margin:g}, p = {worst.kept.p:.2g}"
            )
        if not any(each.second for each in tried):
            safest = min(tried, key=lambda each: _p(each.search))
            worst = _worst(safest.search)
            return (
                f"none is likely enough to pass: of the safest, {safest.arm.label}, {worst.lost} on the search half, "
                f"margin {worst.kept.margin:g}"
            )
        if any(each.state in ("lost too much", "unlikely") for each in tried):
            return "every cheaper one lost more than a margin on the search half"
        return "larger ratios may be certified, too, and were not among the candidates"

    @cached_property
    def _needed(self) -> int | None:
        if self._failed is None:
            return None
        worst = _worst(self._failed.second).kept
        gap = worst.margin + worst.better * worst.change.difference
        return more_items(worst.change, gap, 1 - self._claim.confidence) if gap > 0 else None

    def _told(self, tried: Sequence[_Tried], chosen: _Tried | None, why: str) -> CaseResult:
        claim, reasons = self._claim, [why]
        outcome: Outcome = "confirmed" if chosen else "inconclusive"
        if chosen and claim.chosen not in (None, chosen.arm.label):
            outcome, reasons = "refuted", [f"declared to be {claim.chosen}", why]
        keep = " and ".join(f"{name} within {margin:g}" for name, margin in claim.choose.items())
        said = f"{chosen.arm.label} has the least {claim.minimise} of those" if chosen else "no pruning is"
        sentence = f"keep {keep}: {outcome}. {said} certified at {claim.confidence:g}; {'; '.join(reasons)}"
        measured = claim.minimise not in EXACT
        row = ChoiceResult.model_validate(
            {
                **self._case.about,
                "outcome": outcome,
                "sentence": sentence,
                "reasons": tuple(reasons),
                "minimise": claim.minimise,
                "unit": COST_METRICS[claim.minimise].unit if measured else EXACT[claim.minimise],
                "confidence": claim.confidence,
                "dense_cost": self._dense_cost(tried),
                "chosen": chosen.arm.label if chosen else "",
                "candidates": tuple(each.row for each in tried),
                "needed": self._needed,
                "given_up": tuple(self._given_up(chosen)),
            }
        )
        tables = CaseTables(choices=(row,)).joined([self._groups(chosen), *(each.tables for each in tried)])
        return CaseResult(outcome=outcome, sentence=sentence, tables=tables)

    def _given_up(self, chosen: _Tried | None) -> Iterator[KeptCapability]:
        """What the chosen one does to capabilities that are only looked at, on all items."""
        if chosen is None:
            return
        for capability in self._case.watched.values():
            yield next(self._looks(Requirement(capability, (DENSE, chosen.arm)))).row

    def _groups(self, chosen: _Tried | None) -> CaseTables:
        """What the chosen one lost, by the labels of items of the certification half."""
        if chosen is None:
            return CaseTables()
        arm = chosen.arm
        about = {"ratio": None, "named": arm.label} if arm.target else {"ratio": arm.ratio}
        both = ((each.capability, each.found.records) for each in chosen.second)
        subject = self._case.subject
        rows = (row for what, has in both for row in groups(subject, about, what, (has[DENSE], has[arm])))
        return CaseTables(groups=tuple(rows))
