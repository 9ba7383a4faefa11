"""Why a score moved: what changed item by item, how sure the model was, and what its text looked like."""

from collections import Counter
from collections.abc import Mapping, Sequence

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import Record, ScoreRecord
from glu_prune.judgement.distances import flips
from glu_prune.judgement.lengths import PairedTexts
from glu_prune.results.explanations import Explanation, GroupScores
from glu_prune.statistics.means import mean

_SHOWN = 20
"""Characters of an answer that a table shows."""


def explanation(
    model: str,
    arm: Mapping[str, object],
    capability: Capability,
    both: tuple[Record, Record],
    moved: tuple[int | None, int | None],
) -> Explanation:
    """What lies behind the change of a score: `both` are the dense and the pruned record of the same items.

    `arm` is which arm the pruned one is, as results say it; `moved` is how many items got better, and how many worse.
    """
    dense, pruned = both
    fields = {
        "model": model,
        **arm,
        "capability": capability.name,
        "gained": moved[0],
        "lost": moved[1],
        "flips": _flips(capability, dense, pruned),
        "commonest": (_commonest(dense), _commonest(pruned)) if dense.answers else None,
    }
    nothing = {"margin": None, "length": None, "flawed": None, "kinds": None, "sound": None, "sound_items": 0}
    nothing |= {"matched": None, "matched_items": 0}
    if not dense.flaws:
        margin = (_mean(dense.margins), _mean(pruned.margins)) if dense.margins else None
        return Explanation.model_validate({**fields, **nothing, "margin": margin})
    sound = [index for index in range(len(dense.items)) if not dense.flaws[index] and not pruned.flaws[index]]
    scores = [record.metrics[capability.metric] for record in both]
    text = {
        "length": (_mean(dense.lengths), _mean(pruned.lengths)),
        "flawed": (_mean([bool(each) for each in dense.flaws]), _mean([bool(each) for each in pruned.flaws])),
        "kinds": (_kinds(dense.flaws), _kinds(pruned.flaws)),
        "sound": (mean_of(scores[0], sound), mean_of(scores[1], sound)) if sound else None,
        "sound_items": len(sound),
        **_at_matched_length(capability, both),
    }
    return Explanation.model_validate({**fields, **nothing, **text})


def _at_matched_length(capability: Capability, both: tuple[Record, Record]) -> dict[str, object]:
    texts = PairedTexts(capability, both)
    change = texts.change(texts.matched)
    return {
        "matched": (change.difference, *change.interval()) if change else None,
        "matched_items": int(texts.matched.sum()),
    }


def _flips(capability: Capability, dense: Record, pruned: Record) -> tuple[float, float, float] | None:
    """How many answers are other ones, with the limits of the 95 % interval; see `distances`."""
    found = flips(dense, pruned, capability.cluster)
    if found is None:
        return None
    share = found.level("flips")
    low, high = share.interval()
    return share.difference, max(low, 0.0), min(high, 1.0)


def _commonest(record: Record) -> str:
    """The answer that was given most often, and its share of all."""
    ((answer, times),) = Counter(record.answers).most_common(1)
    if times == 1:
        return "all differ"
    return f"{answer[:_SHOWN] or '(empty)'} {times / len(record.answers):.0%}"


def groups(
    model: str, arm: Mapping[str, object], capability: Capability, both: tuple[Record, Record]
) -> list[GroupScores]:
    """Scores by each label of each field by which the capability is broken down.

    Where an item has several labels and the metric scores as many parts (IFEval's instructions), each part counts under
    its own label; otherwise the item counts under each of its labels.
    """
    found = []
    dense = both[0]
    scores = [record.metrics[capability.metric] for record in both]
    for field in capability.groups:
        members: dict[str, list[tuple[int, int]]] = {}
        for item, labels in enumerate(dense.fields[field]):
            for part, label in enumerate(labels):
                members.setdefault(label, []).append((item, part))
        for label in sorted(members):
            means = [_mean_of_parts(score, members[label], dense.fields[field]) for score in scores]
            found.append(
                GroupScores.model_validate(
                    {
                        "model": model,
                        **arm,
                        "capability": capability.name,
                        "field": field,
                        "label": label,
                        "items": len(members[label]),
                        "dense": means[0],
                        "pruned": means[1],
                    }
                )
            )
    return found


def mean_of(scores: ScoreRecord, items: Sequence[int]) -> float:
    """The weighted mean over `items`."""
    return mean([scores.values[item] for item in items], [scores.weights[item] for item in items])


def _mean_of_parts(scores: ScoreRecord, members: Sequence[tuple[int, int]], labels: Sequence[tuple[str, ...]]) -> float:
    parts = scores.parts
    if parts and all(len(parts[item]) == len(labels[item]) for item, _ in members):
        return _mean([parts[item][part] for item, part in members])
    return mean_of(scores, [item for item, _ in members])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _kinds(flaws: Sequence[tuple[str, ...]]) -> str:
    counts = Counter(flaw for each in flaws for flaw in each)
    return ", ".join(f"{count} {flaw}" for flaw, count in sorted(counts.items())) or "none"
