"""Reads expectation files: YAML becomes typed cases, or one error that names file, line and value."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from glu_prune.errors import ExpectationError, shown
from glu_prune.evaluation.capability import Capability
from glu_prune.evidence.checks import CHECKS
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.claims import (
    ANY,
    CapabilityClaim,
    ClaimAtRatios,
    EfficiencyClaim,
    Experiment,
    Flaw,
    Outcome,
    TrendClaim,
    strange_ratio,
)
from glu_prune.judgement.source import Location, Source, load
from glu_prune.judgement.suite import capabilities
from glu_prune.pruning.ratio import show_ratio


@dataclass(frozen=True)
class Case(ABC):
    """What becomes one pytest case."""

    file: str
    line: int
    id: str
    experiment: Experiment

    @property
    def where(self) -> str:
        """File and line of the claim."""
        return f"{self.file}:{self.line}"

    @property
    @abstractmethod
    def declared(self) -> str:
        """What must be found for the case to pass."""


@dataclass(frozen=True)
class CaseAtRatio(Case):
    """One claim at one of its ratios."""

    claim: ClaimAtRatios
    ratio: Decimal

    @property
    def declared(self) -> Outcome:
        """As the claim says for this ratio."""
        return self.claim.declared(self.ratio)

    @property
    def tests(self) -> int:
        """At how many ratios the claim is made, each with a test of its own."""
        return len(self.experiment.family(self.claim))


@dataclass(frozen=True)
class DirectionCase(CaseAtRatio):
    """One claim about a capability at one ratio."""

    claim: CapabilityClaim
    capability: Capability

    @property
    def arm(self) -> Arm:
        """The pruned model that the claim is about."""
        return _arm(self.experiment, self.ratio)

    @property
    def controls(self) -> tuple[Arm, ...]:
        """Other criteria at the same ratio."""
        return tuple(Arm(name, self.ratio, self.experiment.seed) for name in self.experiment.control_criteria)


@dataclass(frozen=True)
class EfficiencyCase(CaseAtRatio):
    """One claim about a figure of cost at one ratio."""

    claim: EfficiencyClaim
    questions: Capability | None = None
    """Whose questions are answered, where the figure is about answers."""

    @property
    def arm(self) -> Arm:
        """The pruned model that the claim is about."""
        return _arm(self.experiment, self.ratio)


@dataclass(frozen=True)
class TrendCase(Case):
    """One claim about capabilities across all ratios."""

    claim: TrendClaim
    capabilities: tuple[Capability, ...]

    @property
    def declared(self) -> Outcome:
        """As the claim says."""
        return self.claim.verdict

    @property
    def ratios(self) -> tuple[Decimal, ...]:
        """All ratios of the file in order, the dense model's 0 first."""
        return tuple(sorted({Decimal(0), *self.experiment.ratios}))

    def arm(self, ratio: Decimal) -> Arm:
        """The model at `ratio`."""
        return _arm(self.experiment, ratio)


@dataclass(frozen=True)
class EvidenceCase(Case):
    """One check of published figures: clean, or flawed as the file says."""

    check: str
    flaw: Flaw | None

    @property
    def declared(self) -> str:
        """`flawed` if the file says so, else `clean`."""
        return "flawed" if self.flaw else "clean"

    def outcome(self, subjects: Iterable[str]) -> str:
        """`clean` if there are no flawed `subjects`, `flawed` if they are those that the file expects, else why not."""
        found = set(subjects)
        if not found or self.flaw is None or self.flaw.about is None:
            return "flawed" if found else "clean"
        more, fewer = sorted(found - set(self.flaw.about)), sorted(set(self.flaw.about) - found)
        parts = [*(["flawed also in " + ", ".join(more)] if more else [])]
        parts += ["not flawed in " + ", ".join(fewer)] if fewer else []
        return "; ".join(parts) or "flawed"


def _arm(experiment: Experiment, ratio: Decimal) -> Arm:
    """The model of `experiment` at `ratio`; 0 is the dense one."""
    return Arm(experiment.criterion, ratio, experiment.seed) if ratio else DENSE


def files(place: Path) -> tuple[Path, ...]:
    """The expectation files in the folder `place`, or `place` itself.

    Raises:
        ExpectationError: the folder has none, or there can be no such place.
    """
    try:
        one = not place.is_dir()
    except OSError as error:
        msg = f"{shown(str(place))}: {error.strerror}"
        raise ExpectationError(msg) from error
    if one:
        return (place,)
    found = tuple(sorted((*place.glob("*.yaml"), *place.glob("*.yml"))))
    if not found:
        msg = f"{place} holds no expectation files (*.yaml)"
        raise ExpectationError(msg)
    return found


def read(path: Path) -> tuple[Case, ...]:
    """The cases of the expectation file `path`: at each ratio in turn, then across ratios, then about its evidence.

    Raises:
        ExpectationError: the file is missing, no YAML, or says something that is not allowed.
    """
    source, experiment = load(path)
    suite = capabilities(source, experiment)
    _refuse_what_does_not_exist(source, experiment, suite)
    at_ratios, trends = _at_ratios(source, experiment, suite), _trends(source, experiment, suite)
    cases = (*at_ratios, *trends, *_evidence(source, experiment))
    refuse_repeats(cases)
    return cases


def _refuse_what_does_not_exist(source: Source, experiment: Experiment, suite: Mapping[str, Capability]) -> None:
    """Raises `ExpectationError` for capabilities, checks and ratios that would match nothing."""
    for index, claim in enumerate(experiment.expect):
        here = ("expect", index)
        if isinstance(claim, TrendClaim):
            _refuse_trend(source, here, experiment, claim, suite)
            continue
        if isinstance(claim, CapabilityClaim) and claim.capability not in suite:
            raise source.unknown((*here, "capability"), "capability", claim.capability, tuple(suite))
        if isinstance(claim, EfficiencyClaim) and claim.questions not in (None, *suite):
            raise source.unknown((*here, "questions"), "capability", str(claim.questions), tuple(suite))
        if isinstance(claim, EfficiencyClaim) and claim.questions and not suite[claim.questions].share:
            complaint = (
                f"capability {claim.questions} is no share of right answers, so there is no energy for each of them"
            )
            raise source.error((*here, "questions"), complaint)
        if strange := strange_ratio(experiment, claim):
            raise source.error((*here, strange[0]), strange[1])
    if unknown := next((name for name in experiment.baseline_margins if name not in suite), None):
        raise source.unknown(("baseline_margins", unknown), "capability", unknown, tuple(suite))
    for index, flaw in enumerate(experiment.flaws):
        if flaw.check not in CHECKS:
            raise source.unknown(("flaws", index, "check"), "check", flaw.check, tuple(CHECKS))


def _refuse_trend(
    source: Source, here: Location, experiment: Experiment, claim: TrendClaim, suite: Mapping[str, Capability]
) -> None:
    for name in claim.trend:
        if name not in suite:
            raise source.unknown((*here, "trend"), "capability", name, tuple(suite))
        if claim.relation == "equilibrium" and not suite[name].share:
            complaint = f"capability {name} is no share of right answers; an equilibrium is a mean of such scores"
            raise source.error((*here, "trend"), complaint)
    if claim.at and claim.at not in experiment.ratios:
        shown = ", ".join(map(show_ratio, experiment.ratios))
        complaint = f"ratio {show_ratio(claim.at)} is not among the ratios of this file (0, {shown})"
        raise source.error((*here, "at"), complaint)


def _name(experiment: Experiment) -> str:
    return Path(experiment.model).name


def _at_ratios(source: Source, experiment: Experiment, suite: Mapping[str, Capability]) -> Iterator[Case]:
    for ratio in experiment.ratios:
        seen: set[str] = set()
        for index, claim in enumerate(experiment.expect):
            if isinstance(claim, TrendClaim) or ratio not in experiment.family(claim):
                continue
            about = claim.capability if isinstance(claim, CapabilityClaim) else claim.efficiency
            if isinstance(claim, EfficiencyClaim):
                about = "-".join(filter(None, (about, claim.questions, claim.workload)))
            parts = [_name(experiment), f"ratio_{show_ratio(ratio)}", about]
            if about in seen:
                parts.append(claim.direction)
            seen.add(about)
            line, identity = source.line(("expect", index)), "-".join(parts)
            if isinstance(claim, CapabilityClaim):
                capability = suite[claim.capability]
                yield DirectionCase(str(source.path), line, identity, experiment, claim, ratio, capability)
            else:
                questions = suite[claim.questions] if claim.questions else None
                yield EfficiencyCase(str(source.path), line, identity, experiment, claim, ratio, questions)


def _trends(source: Source, experiment: Experiment, suite: Mapping[str, Capability]) -> Iterator[Case]:
    for index, claim in enumerate(experiment.expect):
        if isinstance(claim, TrendClaim):
            line = source.line(("expect", index))
            identity = "-".join([_name(experiment), *claim.trend, claim.relation])
            about = tuple(suite[name] for name in claim.trend)
            yield TrendCase(str(source.path), line, identity, experiment, claim, about)


def _evidence(source: Source, experiment: Experiment) -> Iterator[Case]:
    if experiment.evidence is None:
        return
    flaws = {flaw.check: (index, flaw) for index, flaw in enumerate(experiment.flaws)}
    for check in CHECKS:
        index, flaw = flaws.get(check, (None, None))
        line = source.line(("evidence",) if index is None else ("flaws", index))
        yield EvidenceCase(str(source.path), line, f"{_name(experiment)}-{check}", experiment, check, flaw)


def refuse_repeats(cases: Sequence[Case]) -> None:
    """Raises `ExpectationError` if the same claim is made twice, in one file or in several."""
    first: dict[str, Case] = {}
    for case in cases:
        claimed = case.id
        if isinstance(case, CaseAtRatio):
            claimed = f"{case.id.removesuffix(f'-{case.claim.direction}')} {case.claim.direction}"
        if claimed in first:
            other = first[claimed]
            place = f"line {other.line}" if other.file == case.file else other.where
            msg = f"{case.where}: {claimed} is claimed a second time; the first is in {place}"
            raise ExpectationError(msg)
        first[claimed] = case


def told_apart(cases: Sequence[Case]) -> tuple[Case, ...]:
    """`cases` of several files, with all that differs in the ids where two files are about models of one name.

    Raises:
        ExpectationError: two files make the same claim about the same model, pruned in the same way.
    """
    by_name: dict[str, set[tuple[str, ...]]] = {}
    for case in cases:
        by_name.setdefault(_name(case.experiment), set()).add(_identity(case.experiment))
    found = []
    for case in cases:
        name = _name(case.experiment)
        identity = "-".join(filter(None, _identity(case.experiment)))
        unique = len(by_name[name]) == 1
        found.append(case if unique else replace(case, id=case.id.replace(name, identity, 1)))
    refuse_repeats(found)
    return tuple(found)


def cases_about(cases: Iterable[Case], model: str) -> tuple[Case, ...]:
    """The cases about `model`: of the files that name it; if none does, of those about any model, as about this one."""
    found = tuple(cases)
    named = tuple(case for case in found if _place(case.experiment.model) == _place(model))
    return named or tuple(_of(case, model) for case in found if case.experiment.model == ANY)


def _place(model: str) -> Path:
    """What is the same for two ways to write a folder; for ids, too, it differs where they do."""
    return Path(os.path.expandvars(model)).resolve()


def _of(case: Case, model: str) -> Case:
    """A case about any model, as one about `model`."""
    experiment = case.experiment.model_copy(update={"model": model})
    return replace(case, experiment=experiment, id=case.id.replace(ANY, _name(experiment), 1))


def _identity(experiment: Experiment) -> tuple[str, ...]:
    """What tells experiments apart, as parts of an id."""
    seed = f"seed_{experiment.seed}" if experiment.seed else ""
    chat = "chat" if experiment.chat_template else ""
    return experiment.model.replace("/", "--"), experiment.revision or "", experiment.criterion, seed, chat
