"""Claims about any two models: what `glu-prune judge` asks where no file says it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from glu_prune.errors import ExpectationError
from glu_prune.evaluation.capability import SUITES
from glu_prune.judgement.arms import DeclaredArm
from glu_prune.judgement.asked import capabilities_asked, suite_of
from glu_prune.judgement.case import Case, Entry
from glu_prune.judgement.claim import DENSE_NAME
from glu_prune.judgement.expectation import in_families, read
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds import CASE_OF, AnyClaim
from glu_prune.judgement.kinds.cost import EfficiencyClaim
from glu_prune.judgement.kinds.direction import CapabilityClaim
from glu_prune.judgement.kinds.distance import DistanceClaim

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+-]+")
FLIPS = 0.1
"""Share of answers that may be other ones where no file says how many."""
_HERE = "glu-prune judge"


def cases_about_two(
    pruned: str, dense: str, tasks: Sequence[str], margin: float, claims: Path | None, *, chat: bool
) -> tuple[Case, ...]:
    """Those of the expectation file `claims`, or those that keep each of `tasks` within `margin`.

    Raises:
        EvaluationError: lm-eval has no such task.
        ExpectationError: two of them are the same; or the file cannot be used, or is not all that says what is asked.
    """
    if claims is None:
        return cases_between(pruned, dense, tasks, margin, chat=chat)
    if tasks or chat:
        msg = f"{claims} says what is asked; leave out tasks and chat, or the file"
        raise ExpectationError(msg)
    return cases_of_file(claims, pruned, dense)


def cases_between(pruned: str, dense: str, tasks: Sequence[str], margin: float, *, chat: bool) -> tuple[Case, ...]:
    """That `pruned` keeps each capability within `margin`, and that few answers are other ones than those of `dense`.

    `tasks` are capabilities of the suite that suits the model, tasks that measure one, other tasks of lm-eval, or such
    a task and its metric (`TASK:METRIC`); all capabilities of the suite if there is none.

    Raises:
        EvaluationError: lm-eval has no such task.
        ExpectationError: two of them are the same.
    """
    suite = suite_of(dense)
    asked = capabilities_asked(tasks or SUITES[suite], suite)
    by_name = {each.name: each for each in asked.values()}
    claims: list[AnyClaim] = []
    for each in by_name.values():
        why = "what the pruned model is to keep"
        claims.append(CapabilityClaim(capability=each.name, direction="kept", margin=margin, why=why))
        if not each.logarithmic:
            why = "an equal score may hide other answers"
            claims.append(DistanceClaim(distance="flips", capability=each.name, at_most=FLIPS, why=why))
    arm = _name(pruned)
    experiment = Experiment(
        model=dense, suite=suite, chat_template=chat, arms={arm: DeclaredArm(checkpoint=pruned)}, expect=tuple(claims)
    )
    entries = ((claim, Entry(_HERE, 0, experiment, by_name)) for claim in claims)
    return in_families(_cases(entries, arm))


def cases_of_file(file: Path, pruned: str, dense: str) -> tuple[Case, ...]:
    """The claims of an expectation file, whatever model and arms it names, about `pruned` beside `dense`.

    Raises:
        ExpectationError: the file cannot be used, or claims what no two models can show.
    """
    arm = _name(pruned)
    claims: dict[str, tuple[Case, AnyClaim]] = {}
    for case in read(file):
        claim = getattr(case, "claim", None)
        if not isinstance(claim, CapabilityClaim | DistanceClaim | EfficiencyClaim):
            msg = f"{case.where}: this is not about two models; leave it out"
            raise ExpectationError(msg)
        declared = claim.verdict if isinstance(claim.verdict, str) else "confirmed"
        whole = {"ratios": None, "arms": None, "against": DENSE_NAME, "verdict": declared}
        alone = claim.model_copy(update=whole | ({"specific": False} if isinstance(claim, CapabilityClaim) else {}))
        claims[case.where] = case, alone
    expect = tuple(claim for _, claim in claims.values())
    about = {"model": dense, "ratios": (), "arms": {arm: DeclaredArm(checkpoint=pruned)}, "controls": ()}
    entries: list[tuple[AnyClaim, Entry]] = []
    for case, claim in claims.values():
        experiment = case.experiment.model_copy(update={**about, "calibration": None, "expect": expect})
        suite = {each.capability.name: each.capability for each in case.requirements()}
        entries.append((claim, Entry(case.file, case.line, experiment, suite)))
    return in_families(_cases(entries, arm))


def _cases(entries: Iterable[tuple[AnyClaim, Entry]], arm: str) -> Iterator[Case]:
    seen: set[str] = set()
    for claim, entry in entries:
        name = f"{arm}-{claim.name}"
        if name in seen:
            name = f"{name}-{claim.variant}"
        seen.add(name)
        yield CASE_OF[type(claim)].of(entry, claim, name, arm)


def _name(model: str) -> str:
    """What the arm is called: as its folder, as far as that can be a name."""
    return _NOT_IN_NAMES.sub("-", Path(model).name).lstrip("-_.+0123456789")[:60] or "pruned"
