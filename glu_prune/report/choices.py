"""A choice in full: what candidates keep and cost, the certificate of the chosen one, and the file that pins it."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import yaml

from glu_prune.clean import markdown, one_line
from glu_prune.judgement.verdict import digits
from glu_prune.models.fetchable import FETCHABLE
from glu_prune.pruning.allocation import BY_SCORE
from glu_prune.report.table import Column, render, wrapped
from glu_prune.results.choices import CandidateResult, ChoiceResult, KeptCapability
from glu_prune.results.explanations import GroupScores
from glu_prune.results.findings import Finding

if TYPE_CHECKING:
    from glu_prune.judgement.kinds.choice import ChoiceCase

_GROUPS = 5
"""Of these that lost most."""
_LEAST = 5
"""Items of a group that is named."""
_ARM = "chosen"
CALIBRATION = "calibration.txt"
"""The text that the criterion was shown, beside the file that pins the choice."""
SENSITIVITY = "sensitivity.json"
"""What neurons were allocated to layers by, if they were."""


def text(choice: ChoiceResult, groups: Sequence[GroupScores] = (), found: Sequence[Finding] = ()) -> str:
    """Everything that people choose by, for a terminal; `found` is what is wrong with measured costs."""
    said = [wrapped(one_line(line)) for line in _head(choice)]
    if choice.candidates:
        said.append("Changes on the search half, then on the certification half:")
        said.append(render(_columns(choice), sorted(choice.candidates, key=lambda each: -each.bytes), "simple"))
    notes = (f"{each.check}: {each.says}" for each in found)
    lines = (*_certificate(choice), *_given_up(choice, groups), *_cheaper(choice), *notes)
    said += [wrapped(one_line(line)) for line in lines]
    return "\n\n".join(said)


def _head(choice: ChoiceResult) -> Iterator[str]:
    chosen = choice.chosen or "nothing is certified"
    saved = f", {_saved(choice, choice.cost)} {choice.minimise}" if choice.chosen else ""
    change = choice.best.change if choice.best else None
    measured = f" (95 % interval {change[1]:+.1f} to {change[2]:+.1f} %)" if change else ""
    yield f"{choice.model}: {chosen}{saved}{measured}"


def _saved(choice: ChoiceResult, cost: float | None) -> str:
    if cost is None or not choice.dense_cost:
        return "-"
    return f"{100 * (cost / choice.dense_cost - 1):+.1f} %"


def _columns(choice: ChoiceResult) -> tuple[Column[CandidateResult], ...]:
    names = [each.capability for each in choice.candidates[0].search]
    changes = [Column[CandidateResult](name, partial(_changes, place)) for place, name in enumerate(names)]
    return (
        Column("candidate", candidate_name, key=True),
        Column(choice.minimise, lambda row: _saved(choice, row.cost)),
        *changes,
        Column("", partial(_state, max(map(_asked, choice.candidates)))),
    )


def candidate_name(row: CandidateResult) -> str:
    """Criterion and size, and how neurons are allocated to layers; what all share is said once above."""
    size, *more = row.target.split(", ")
    how = next((each for each in more if each.startswith("allocated")), "").removeprefix("allocated ")
    kind = " ".join(how.split()[:2])  # without the fingerprint of a sensitivity
    return " ".join(filter(None, (row.criterion, size.removeprefix("ratio "), kind)))


def _asked(row: CandidateResult) -> int:
    """Items of the search half, of the capability with most of them."""
    return max(each.items for each in row.search)


def _state(most: int, row: CandidateResult) -> str:
    """What came of it, and after how many items, where these were not all."""
    asked = _asked(row)
    return row.state if asked == most else f"{row.state} ({asked:,} items)"


def _changes(place: int, row: CandidateResult) -> str:
    """Of a capability on the search half and, where it was looked at, on the certification half."""
    halves = [half[place].delta for half in (row.search, row.certification) if half]
    return ", ".join(map(_signed, halves))


def _certificate(choice: ChoiceResult) -> Iterator[str]:
    chosen = next((each for each in choice.candidates if each.state == "chosen"), None)
    for each in chosen.certification if chosen else ():
        yield f"certified: {_promise(each)}"
    for each in chosen.checked if chosen else ():
        lost = -(each.delta or 0.0) if each.better == "higher" else each.delta or 0.0
        said = "holds" if lost < each.margin else "does not hold"
        yield f"on items that neither half has, it {said}: {_change_of(each)}"


def _promise(row: KeptCapability) -> str:
    return f"{_change_of(row)}: less than {row.margin:g} is lost, p = {row.p:.2g}"


def _change_of(row: KeptCapability) -> str:
    return (
        f"{row.capability} ({row.metric}) {_score(row.dense)} -> {_score(row.pruned)} ({_signed(row.delta)}, 95 % "
        f"interval {_signed(row.low)} to {_signed(row.high)}, n = {row.items:,})"
    )


def _given_up(choice: ChoiceResult, groups: Sequence[GroupScores]) -> Iterator[str]:
    """What the chosen one lost: of capabilities that were only looked at, and by groups of those that were kept."""
    for each in choice.given_up:
        yield f"given up: {_change_of(each)}"
    lost = sorted((row for row in groups if row.items >= _LEAST), key=lambda row: (row.pruned or 0) - (row.dense or 0))
    worst = [row for row in lost[:_GROUPS] if (row.pruned or 0) < (row.dense or 0)]
    if worst:
        shown = ", ".join(
            f"{row.capability} {row.label} {_score(row.dense)} -> {_score(row.pruned)} ({row.items})" for row in worst
        )
        yield f"groups that lost most, of {_LEAST} items and more: {shown}"


def _cheaper(choice: ChoiceResult) -> Iterator[str]:
    yield f"why nothing cheaper: {'; '.join(choice.reasons)}" if choice.chosen else f"why: {'; '.join(choice.reasons)}"
    if choice.needed:
        yield f"about {choice.needed:,} more items for certification would let it pass, if it is as good as it looks"


def _score(value: float | None) -> str:
    return "-" if value is None else digits(value)


def _signed(value: float | None) -> str:
    return "open" if value is None else f"{value:+.3f}"


def certificate(choice: ChoiceResult, *, pinned: bool = True) -> str:
    """The section of a model card that says what is promised, and by which rule.

    `pinned`: whether the file that pins it lies beside the card.
    """
    promises = "\n".join(f"- {markdown(line.removeprefix('certified: '))}" for line in _certificate(choice))
    given_up = "\n".join(f"- {markdown(line)}" for line in _given_up(choice, ()))
    lost = f"What it gave up elsewhere:\n\n{given_up}\n\n" if given_up else ""
    file = "`expectations.yaml`, beside this card, has glu-prune check the promise on the items of both halves.\n"
    file = file if pinned else ""
    return f"""## Certificate

Chosen for the least {choice.minimise} ({_saved(choice, choice.cost)}) among the prunings that were certified. With a
probability of at least {choice.confidence:g}, none that was certified loses as much as a margin below, of what such
items measure:

{promises}

Half of the items found the order in which candidates were tested; the other half, which these figures are of, tested
them (fixed sequence, arXiv:2110.01052). {len(choice.candidates)} candidates were tried.

{lost}{file}"""


def pinned(case: "ChoiceCase", choice: ChoiceResult) -> str:
    """An expectation file that claims what was promised, of the same cut of the dense model, on both halves."""
    experiment = case.experiment
    arm = case.candidate(choice.chosen)
    ratio = arm.target.ratio if arm.target else arm.ratio
    chosen: dict[str, object] = {"criterion": arm.criterion, "ratio": float(ratio or 0)}
    if arm.target is not None and arm.target.multiple_of:
        chosen["multiple_of"] = arm.target.multiple_of
    if arm.target is not None and (arm.target.by_score or arm.target.curves):
        chosen["allocation"] = BY_SCORE if arm.target.by_score else SENSITIVITY
    if arm.calibration is not None:
        part = {"tokens": arm.calibration.tokens, "seed": arm.calibration.seed} if arm.calibration.tokens else {}
        chosen["calibration"] = {"file": CALIBRATION, **part}
    known = {each.name: each for each in case.kept.values()}
    declared = {
        name: {"task": each.task, "metric": each.metric, "higher_is_better": each.higher_is_better}
        for name, each in known.items()
        if not case.is_of_suite(each)
    }
    said: dict[str, object] = {"model": experiment.model, "suite": experiment.suite}
    if experiment.chat_template:
        said["chat_template"] = True
    if declared:
        said["capabilities"] = declared
    if items := {each.task: most for each in case.kept.values() if (most := experiment.most_items(each))}:
        said["items"] = items
    said["arms"] = {_ARM: chosen}
    said["expect"] = [
        {
            "capability": name,
            "direction": "kept",
            "margin": margin,
            "why": f"certified at {choice.confidence:g} when this pruning was chosen for the least {choice.minimise}",
        }
        for name, margin in case.claim.choose.items()
    ]
    named = f" --glu-model {experiment.model}" if experiment.model in FETCHABLE else ""  # else it is left out
    head = (
        "# What `glu-prune choose` promised of a pruning, as claims about the same cut of the dense model:\n"
        f"#     pytest benchmarks --glu-expectations expectations.yaml{named}\n"
    )
    return head + yaml.safe_dump(said, sort_keys=False, width=120, allow_unicode=True)
