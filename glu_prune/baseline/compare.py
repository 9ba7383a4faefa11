"""Two outcomes of the same thing, item by item: improved, unchanged, not shown, regressed, or incomparable and why."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from glu_prune.baseline.outcome import About, Key, Outcome
from glu_prune.errors import BaselineError
from glu_prune.judgement.scores import SEED, tied
from glu_prune.judgement.verdict import ALPHA, digits, one_sided
from glu_prune.results.baselines import BaselineResult, State
from glu_prune.statistics.comparison import Contrast, contrast, holm
from glu_prune.statistics.power import smallest_found

OutcomePair = tuple[Outcome | None, Outcome | None]
"""Before and after; None where one side has no such outcome."""
Adjust = Callable[[list[float]], list[float]]
"""Corrects p-values for how many there are."""
FAIL_ON: dict[str, frozenset[State]] = {
    "regressed": frozenset(("regressed", "missing")),
    "incomparable": frozenset(("regressed", "missing", "incomparable")),
    "change": frozenset(("regressed", "missing", "incomparable", "improved")),
}
"""What a comparison can be asked to fail on."""
NAMED = 10
"""How many items that changed are named."""
_ROUNDING = 1e-12
_SMALL = 1e-30


@dataclass(frozen=True)
class Change:
    """After minus before on the same items, in units of the metric (nats for perplexities)."""

    delta: float
    low: float
    high: float
    """Limits of the 95 % interval."""
    p: float
    """Of no difference, two-sided."""
    test: str
    found: Contrast = field(compare=False)
    """After minus before."""
    worse: tuple[str, ...]
    better: tuple[str, ...]
    """Names of the items that changed: the beginning of their hash and their place in the later run, the largest change
    first."""


@dataclass(frozen=True)
class Compared:
    """What a comparison of one outcome came to."""

    about: About
    """Of the later run, or of the earlier if the later has no such outcome."""
    outcome: State
    note: str
    """Why it is not what it could be taken for."""
    before: float | None
    after: float | None
    change: Change | None = None
    p: float = 1.0
    """That which decided: corrected for how many outcomes are compared."""
    band: float = 0.0
    margin: float = 0.0
    catches: float | None = None
    """The smallest worsening that would have been found in four of five runs."""

    @property
    def sentence(self) -> str:
        """The finding with its numbers."""
        what = f"{self.about.name}: {self.outcome}" + (f", {self.note}" if self.note else "")
        if self.change is None or self.before is None or self.after is None:
            return what
        moved = self.change
        numbers = (
            f"{digits(self.before)} -> {digits(self.after)}, {moved.delta:+.3g} (95 % {moved.low:+.3g} to "
            f"{moved.high:+.3g}), {moved.test} p = {self.p:.2g}, noise band {self.band:.2g}, margin {self.margin:g}"
        )
        flips = f"{len(moved.worse)} items worse, {len(moved.better)} better of {self.about.n}"
        if self.catches is not None:
            flips += f"; a loss of {self.catches:.2g} would have been found in four of five runs"
        named = [
            f"{kind}: {', '.join(names[:NAMED])}" + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            for kind, names in (("worse", moved.worse), ("better", moved.better))
            if names
        ]
        return "; ".join([f"{what}, {numbers}", flips, *named])

    def result(self, model: str, against: str, named: int | None = NAMED) -> BaselineResult:
        """As tables and files show it, with the names of at most so many items that changed in either direction."""
        about, change = self.about, self.change
        return BaselineResult(
            model=model,
            against=against,
            arm=about.arm,
            capability=about.capability,
            task=about.task,
            metric=about.metric,
            better="higher" if about.higher_is_better else "lower",
            items=about.n,
            before=self.before,
            after=self.after,
            delta=change.delta if change else None,
            low=change.low if change else None,
            high=change.high if change else None,
            p=self.p if change else None,
            test=change.test if change else "",
            catches=self.catches,
            worse=len(change.worse) if change else None,
            improved=len(change.better) if change else None,
            worse_items=change.worse[:named] if change else (),
            improved_items=change.better[:named] if change else (),
            band=self.band,
            margin=self.margin,
            outcome=self.outcome,
            note=self.note,
            sentence=self.sentence,
        )


def paired(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[OutcomePair]:
    """Outcomes of the same things.

    A model of another name is the same where each side is about one model, or where its files are the same.

    Of several outcomes of one thing, which were asked in different ways, those that can be compared are taken.
    """
    now = _names_now(before, after)

    def things(side: Sequence[Outcome], names: Mapping[str, str]) -> dict[Key, list[Outcome]]:
        found: dict[Key, list[Outcome]] = {}
        for each in side:
            model = each.about.model
            found.setdefault((names.get(model, model), *each.about.key[1:]), []).append(each)
        return found

    first, second = things(before, now), things(after, {})
    pairs: list[OutcomePair] = []
    for key in sorted({*first, *second}):
        pairs += _matched(first.get(key, []), second.get(key, []))
    return pairs


def _names_now(before: Sequence[Outcome], after: Sequence[Outcome]) -> dict[str, str]:
    """What models of before are called in `after`, where that is another name."""
    old, new = ({each.about.model: each.about.weights for each in side} for side in (before, after))
    if len(old) == 1 == len(new):
        return dict(zip(old, new, strict=True))
    by_weights = {weights: name for name, weights in new.items() if weights and name not in old}
    return {name: by_weights[weights] for name, weights in old.items() if name not in new and weights in by_weights}


def _matched(before: Sequence[Outcome], after: Sequence[Outcome]) -> list[OutcomePair]:
    """Outcomes of one thing: each later one with an earlier one of the same items, or with what is left."""
    left, pairs, single = list(before), list[OutcomePair](), list[Outcome]()
    for each in after:
        match = closest(left, each)
        if match is None or different(match, each):
            single.append(each)
            continue
        left.remove(match)
        pairs.append((match, each))
    while single and left:
        pairs.append((left.pop(0), single.pop(0)))
    return [*pairs, *((each, None) for each in left), *((None, each) for each in single)]


def closest(candidates: Sequence[Outcome], wanted: Outcome) -> Outcome | None:
    """Of `candidates` for the same thing the first that can be compared with `wanted`, else the first."""
    return next((each for each in candidates if not different(each, wanted)), candidates[0] if candidates else None)


def different(before: Outcome, after: Outcome) -> str:
    """Why two outcomes cannot be compared; empty if they can."""
    one, other = before.about.comparable, after.about.comparable
    facts = [
        f"{name} {one.get(name, 'not said')} before, {other.get(name, 'not said')} now"
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]
    stated = any(name in one and name in other and one[name] != other[name] for name in one)
    gone, new = len(before.place.keys() - after.place.keys()), len(after.place.keys() - before.place.keys())
    if gone or new:
        sizes = f"of {len(before.items)} before and {len(after.items)} now"
        return "; ".join([f"{gone} items only before, {new} only now ({sizes})", *facts])
    if stated:
        return "; ".join(facts)
    if before.about.higher_is_better != after.about.higher_is_better:
        return "better is not the same way before and now"
    pairs = zip(_column(before, after, "weights"), after.weights, strict=True)
    return "items count differently before and now" if any(old != new for old, new in pairs) else ""


def _column(before: Outcome, after: Outcome, name: str) -> list[Any]:
    """A column of `before` in the order of the items of `after`."""
    values = getattr(before, name)
    return [values[before.place[item]] for item in after.items]


def change(before: Outcome, after: Outcome) -> Change:
    """After minus before, on the same items, whichever order they are in."""
    better = 1 if after.about.higher_is_better else -1
    old = _column(before, after, "values")
    new = tied(after.values, old)
    clusters = after.clusters or (_column(before, after, "clusters") if before.clusters else None)
    found = contrast(new, old, after.weights, clusters=clusters, bounded=not after.about.logarithmic, seed=SEED)
    moved = sorted(
        ((better * (now - then), place) for place, (now, then) in enumerate(zip(new, old, strict=True)) if now != then),
        key=lambda each: (-abs(each[0]), each[1]),
    )
    names = {place: f"{after.items[place][:8]} (#{place})" for _, place in moved}
    low, high = found.interval() if moved else (0.0, 0.0)
    return Change(
        delta=found.difference if moved else 0.0,
        low=low,
        high=high,
        p=found.p_two_sided() if moved else 1.0,
        test=found.test,
        found=found,
        worse=tuple(names[place] for size, place in moved if size < 0),
        better=tuple(names[place] for size, place in moved if size > 0),
    )


def of_many(tests: int) -> Adjust:
    """Bonferroni's correction for so many outcomes, for those of them that are at hand."""
    return lambda p_values: [min(1.0, p * tests) for p in p_values]


def compare(pairs: Iterable[OutcomePair], margin: float = 0.0, adjust: Adjust = holm) -> list[Compared]:
    """What each pair comes to.

    A change counts as shown where its two-sided p is at most 0.05, after `adjust` has corrected it for how many
    outcomes are compared, and the difference exceeds both the margin and the noise band. That there is none counts as
    shown where no item changed, or where a worsening beyond the margin (or the noise band, if that is wider) is
    excluded at 0.05: with a margin of 0 no number of items shows that.
    """
    every = [(before, after, _refused(before, after)) for before, after in pairs]
    changes = [change(before, after) if before and after and not why else None for before, after, why in every]
    p_values = [each.p for each in changes if each is not None]
    decided, alpha = iter(adjust(p_values)), ALPHA / 2 / _strictest(adjust, len(p_values))
    return [
        _incomparable(before, after, why)
        if moved is None
        else _decided(before, after, moved, (next(decided), alpha), margin)
        for (before, after, why), moved in zip(every, changes, strict=True)
    ]


def _strictest(adjust: Adjust, count: int) -> float:
    """By how much the smallest of so many p-values is multiplied."""
    return adjust([_SMALL] * count)[0] / _SMALL if count else 1.0


def _refused(before: Outcome | None, after: Outcome | None) -> str:
    if before is None:
        return "there was none before"
    return "there is none now" if after is None else different(before, after)


def _incomparable(before: Outcome | None, after: Outcome | None, why: str) -> Compared:
    either = after or before
    assert either is not None
    scores = [each.about.score if each else None for each in (before, after)]
    return Compared(either.about, "incomparable" if after else "missing", why, scores[0], scores[1])


def _decided(
    before: Outcome | None, after: Outcome | None, moved: Change, level: tuple[float, float], margin: float
) -> Compared:
    """`level`: p, corrected, and what a one-sided p is compared with."""
    assert before is not None
    assert after is not None
    band = max((each.about.band.score for each in (before, after) if each.about.band), default=0.0)
    better = 1 if after.about.higher_is_better else -1
    p, alpha = level
    state, note = _state(moved, p, band, margin, better)
    how = sorted({*before.about.settings.items()} ^ {*after.about.settings.items()}, key=str)
    weights = [each.about.weights for each in (before, after)]
    names = ["weights"] if all(weights) and weights[0] != weights[1] else []
    other = ", ".join(dict.fromkeys([*names, *(name for name, _ in how)]))
    notes = [note] if note else []
    notes += [f"other {other}"] if other else []
    scores, catches = (before.about.score, after.about.score), smallest_found(moved.found, alpha)
    return Compared(after.about, state, ", ".join(notes), *scores, moved, p, band, margin, catches)


def _state(moved: Change, p: float, band: float, margin: float, better: int) -> tuple[State, str]:
    """What a change comes to, and why it is none if it is none."""
    if not (moved.worse or moved.better):
        return "unchanged", "no item changed"
    if p <= ALPHA and abs(moved.delta) > max(band, margin) + _ROUNDING:
        return ("improved" if better * moved.delta > 0 else "regressed"), ""
    allowed, which = max((margin, "the margin"), (band, "the noise band"))
    if allowed > 0 and one_sided(moved.found, better, -allowed) <= ALPHA:
        if p <= ALPHA and better * moved.delta < 0 and margin > band:
            return "allowed", f"worse, within the margin of {margin:g}"
        return "unchanged", f"no worse by more than {which}, shown"
    return "not shown", f"within {which}" if p <= ALPHA else ""


def is_called(about: About, name: str) -> bool:
    """Whether that is a name by which it can be allowed to be missing."""
    return name in about.called


def refuse_unknown(
    every: Sequence[About], names: Iterable[str], is_called: Callable[[About, str], bool] = is_called
) -> None:
    """Raises `BaselineError` for a name by which none of `every` is called: a slip would allow nothing, unnoticed."""
    for name in names:
        if not any(is_called(about, name) for about in every):
            known = ", ".join(dict.fromkeys(each for about in every for each in about.called))
            msg = f"{name!r} is to be allowed to be missing, but nothing of that name is pinned; there are: {known}"
            raise BaselineError(msg)


def without_allowed(found: Sequence[Compared], names: Sequence[str]) -> list[Compared]:
    """What is left without outcomes that are missing and called by one of `names`.

    Raises:
        BaselineError: there never was anything of such a name.
    """
    refuse_unknown([each.about for each in found], names)
    return [
        each for each in found if each.outcome != "missing" or not any(is_called(each.about, name) for name in names)
    ]


def was_compared(found: Compared | BaselineResult) -> bool:
    """Whether there were two outcomes, and they could be compared."""
    return found.outcome not in ("incomparable", "missing")


def refuse_incomparable(found: Sequence[Compared]) -> None:
    """Raises `BaselineError` if nothing could be compared: that nothing got worse would then say nothing."""
    if not any(map(was_compared, found)):
        first = found[0]
        msg = f"nothing can be compared: {first.about.name}: {first.note}" + (
            f"; and {len(found) - 1} more" if len(found) > 1 else ""
        )
        raise BaselineError(msg)
