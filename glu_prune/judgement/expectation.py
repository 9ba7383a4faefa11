"""Reads expectation files: YAML becomes typed cases, or one error that names file, line and value."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from glu_prune.errors import ExpectationError, GluPruneError, PlanError, shown
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.evidence.checks import CHECKS
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.case import ArmCase, Case, Entry
from glu_prune.judgement.claim import ArmClaim, ArmKey, Claim, show_key
from glu_prune.judgement.document import Document, Location, load
from glu_prune.judgement.experiment import ANY, Experiment
from glu_prune.judgement.kinds import CASE_OF
from glu_prune.judgement.kinds.choice import ChoiceCase
from glu_prune.judgement.kinds.cost import EfficiencyCase
from glu_prune.judgement.kinds.direction import DirectionCase
from glu_prune.judgement.kinds.distance import DistanceCase
from glu_prune.judgement.kinds.evidence import EvidenceCase
from glu_prune.judgement.kinds.trend import TrendCase
from glu_prune.judgement.suite import capabilities
from glu_prune.models.source import identity
from glu_prune.pruning.ratio import show_ratio

__all__ = [
    "Case",
    "ChoiceCase",
    "DirectionCase",
    "DistanceCase",
    "EfficiencyCase",
    "EvidenceCase",
    "TrendCase",
    "cases_about",
    "files",
    "read",
    "refuse_repeats",
    "told_apart",
]


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
    document, experiment = load(path)
    experiment = _placed(document, experiment)
    suite = capabilities(document, experiment)
    _refuse_unknown(document, experiment, suite)
    cases = (*_claimed(document, experiment, suite), *_evidence(document, experiment))
    refuse_repeats(cases)
    return in_families(cases)


def _placed(document: Document, experiment: Experiment) -> Experiment:
    """`experiment` with absolute paths; raises `ExpectationError` for a file that cannot be used, or for equal arms."""
    folder, arms = document.path.absolute().parent, {}
    for name, each in experiment.arms.items():
        try:
            arms[name] = each.beside(folder, experiment.criterion)
        except GluPruneError as error:
            raise document.error(("arms", name), str(error)) from error
    try:
        shown = experiment.calibration and experiment.calibration.beside(folder)
    except PlanError as error:
        raise document.error(("calibration",), str(error)) from error
    expect = []
    for index, claim in enumerate(experiment.expect):
        try:
            expect.append(claim.beside(folder))
        except PlanError as error:
            raise document.error(("expect", index), str(error)) from error
    found = experiment.model_copy(update={"calibration": shown, "arms": arms, "expect": tuple(expect)})
    first: dict[Arm, ArmKey] = {}
    for key in found.keys:
        if (other := first.setdefault(found.arm(key), key)) != key:
            complaint = f"{show_key(key)} is the same model as {show_key(other)}; leave one of them out"
            raise document.error(("arms", str(key)), complaint)
    return found


def _refuse_unknown(document: Document, experiment: Experiment, suite: Mapping[str, Capability]) -> None:
    """Raises `ExpectationError` for capabilities, checks and ratios that would match nothing."""
    for index, claim in enumerate(experiment.expect):
        for problem in claim.problems(experiment.keys, suite):
            here = ("expect", index, problem.key)
            if problem.unknown:
                raise _unknown_capability(document, here, problem.unknown, experiment, suite)
            raise document.error(here, problem.complaint)
        if complaint := _without_controls(experiment, claim):
            raise document.error(("expect", index), complaint)
    if unknown := next((name for name in experiment.baseline_margins if name not in suite), None):
        raise document.unknown(("baseline_margins", unknown), "capability", unknown, tuple(suite))
    tasks = tuple(dict.fromkeys(each.task for each in suite.values()))
    if unknown := next((name for name in experiment.items if name not in tasks), None):
        raise document.unknown(("items", unknown), "task", unknown, tasks)
    for index, flaw in enumerate(experiment.flaws):
        if flaw.check not in CHECKS:
            raise document.unknown(("flaws", index, "check"), "check", flaw.check, tuple(CHECKS))


def _unknown_capability(
    document: Document, here: Location, name: str, experiment: Experiment, suite: Mapping[str, Capability]
) -> ExpectationError:
    """`suite` has no capability of that `name`; maybe another one has."""
    if other := next((each for each, capabilities in SUITES.items() if name in capabilities), None):
        said = f"capability {name} is of suite {other}, and this file is of suite {experiment.suite}"
        complaint = f"{said}; say `suite: {other}`"
        return document.error(here, complaint)
    return document.unknown(here, "capability", name, tuple(suite))


def _without_controls(experiment: Experiment, claim: Claim) -> str:
    """What is wrong with a claim that compares an arm with controls that it cannot have; empty if nothing is."""
    if not isinstance(claim, ArmClaim) or not getattr(claim, "specific", False):
        return ""
    checkpoints = [key for key in claim.arms_among(experiment.keys) if experiment.arm(key).checkpoint]
    if checkpoints:
        return f"arm {checkpoints[0]} is a checkpoint, which has no controls of its size: no claim about it is specific"
    return ""


def _name(experiment: Experiment) -> str:
    return Path(os.path.abspath(experiment.model)).name  # noqa: PTH100 - a link keeps its name


def _claimed(document: Document, experiment: Experiment, suite: Mapping[str, Capability]) -> Iterator[Case]:
    """The cases of all claims, those across ratios last; ids hold the direction where it alone tells two apart."""
    entries = [
        (claim, Entry(str(document.path), document.line(("expect", index)), experiment, suite))
        for index, claim in enumerate(experiment.expect)
    ]
    for key in experiment.keys:
        seen: set[str] = set()
        for claim, entry in entries:
            if key in claim.arms_among(experiment.keys):
                parts = [_name(experiment), _in_id(key), claim.name]
                if claim.name in seen:
                    parts.append(claim.variant)
                seen.add(claim.name)
                yield CASE_OF[type(claim)].of(entry, claim, "-".join(parts), key)
    for claim, entry in entries:
        if not claim.arms_among(experiment.keys):
            yield CASE_OF[type(claim)].of(entry, claim, f"{_name(experiment)}-{claim.name}", None)


def _in_id(key: ArmKey) -> str:
    return key if isinstance(key, str) else f"ratio_{show_ratio(key)}"


def _evidence(document: Document, experiment: Experiment) -> Iterator[Case]:
    if experiment.evidence is None:
        return
    flaws = {flaw.check: (index, flaw) for index, flaw in enumerate(experiment.flaws)}
    for check in CHECKS:
        index, flaw = flaws.get(check, (None, None))
        line = document.line(("evidence",) if index is None else ("flaws", index))
        yield EvidenceCase(str(document.path), line, f"{_name(experiment)}-{check}", experiment, check, flaw)


def refuse_repeats(cases: Sequence[Case]) -> None:
    """Raises `ExpectationError` if the same claim is made twice, in one file or in several."""
    first: dict[str, Case] = {}
    for case in cases:
        if case.claimed in first:
            other = first[case.claimed]
            place = f"line {other.line}" if other.file == case.file else other.where
            msg = f"{case.where}: {case.claimed} is claimed a second time; the first is in {place}"
            raise ExpectationError(msg)
        first[case.claimed] = case


def told_apart(cases: Sequence[Case]) -> tuple[Case, ...]:
    """`cases` of several files, with all that differs in the ids where two files are about models of one name.

    Raises:
        ExpectationError: two files make the same claim about the same model, pruned in the same way.
    """
    by_name: dict[str, set[tuple[str, ...]]] = {}
    by_model: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for case in cases:
        experiment = case.experiment
        by_name.setdefault(_name(experiment), set()).add((identity(experiment.model), *_variant(experiment)))
        by_model.setdefault(_asked(experiment), set()).add(_pruned(experiment))
    found = []
    for case in cases:
        name, experiment = _name(case.experiment), case.experiment
        whole = "-".join(filter(None, (experiment.model.replace("/", "--"), *_variant(experiment))))
        several = by_model[_asked(experiment)]
        apart = ", ".join(filter(None, _pruned(experiment))) if len(several) > 1 else ""
        case_id = case.id if len(by_name[name]) == 1 else case.id.replace(name, whole, 1)
        found.append(replace(case, id=case_id, apart=apart))
    refuse_repeats(found)
    return in_families(found)


def in_families(cases: Iterable[Case]) -> tuple[Case, ...]:
    """`cases`, each with all that is declared of its claim: how entries and files divide it changes no verdict."""
    every = tuple(cases)
    keys = {id(case): case.family_key for case in every if isinstance(case, ArmCase)}
    members: dict[tuple[str, ...], list[str]] = {}
    for case in every:
        if isinstance(case, ArmCase):
            members.setdefault(keys[id(case)], []).append(case.member)
    return tuple(
        replace(case, family=tuple(members[keys[id(case)]])) if isinstance(case, ArmCase) else case for case in every
    )


def cases_about(cases: Iterable[Case], model: str) -> tuple[Case, ...]:
    """The cases about `model`: of the files that name it; if none does, of those about any model, as about this one."""
    found = tuple(cases)
    wanted = identity(model)
    named = tuple(case for case in found if _is_named(case) and identity(case.experiment.model) == wanted)
    return named or tuple(_as_about(case, model) for case in found if not _is_named(case))


def _is_named(case: Case) -> bool:
    return case.experiment.model != ANY


def _as_about(case: Case, model: str) -> Case:
    """A case about any model, as one about `model`."""
    experiment = case.experiment.model_copy(update={"model": model})
    return replace(case, experiment=experiment, id=case.id.replace(ANY, _name(experiment), 1))


def _asked(experiment: Experiment) -> tuple[str, ...]:
    """The model, and whether it is asked in its chat template."""
    return identity(experiment.model), "chat" if experiment.chat_template else ""


def _pruned(experiment: Experiment, between: str = " ") -> tuple[str, ...]:
    """What of the model is pruned how, beside ratios; `between` stands before the number of a seed."""
    seed = f"seed{between}{experiment.seed}" if experiment.seed else ""
    return experiment.revision or "", experiment.criterion, seed


def _variant(experiment: Experiment) -> tuple[str, ...]:
    """What tells experiments about one model apart, as parts of an id."""
    return *_pruned(experiment, "_"), _asked(experiment)[1]
