"""Why a score moved: what changed item by item, how sure the model was, and what its text looked like."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import Record, ScoreRecord
from glu_prune.statistics.means import mean


@dataclass(frozen=True)
class Why:
    """Dense and pruned, side by side; None where a task has no such thing."""

    margin: tuple[float, float] | None
    """Mean log-likelihood of the best right choice minus the best wrong one, in nats."""
    length: tuple[float, float] | None
    """Mean tokens of the output."""
    flawed: tuple[float, float] | None
    """Share of outputs that are empty, loops, echoes, or cut by the length limit."""
    kinds: tuple[str, str] | None
    """How many outputs have each flaw, in words."""
    sound: tuple[float, float] | None
    """Scores over the items where both outputs have no flaw; None where there are none."""
    sound_items: int
    """How many those are."""


def why(capability: Capability, dense: Record, pruned: Record) -> Why:
    """What lies behind the change from `dense` to `pruned`, two records of the same items."""
    both = (dense, pruned)
    if not dense.flaws:
        margins = (_mean(dense.margins), _mean(pruned.margins)) if dense.margins else None
        return Why(margins, None, None, None, None, 0)
    sound = [index for index in range(len(dense.items)) if not dense.flaws[index] and not pruned.flaws[index]]
    scores = [record.metrics[capability.metric] for record in both]
    return Why(
        margin=None,
        length=(_mean(dense.lengths), _mean(pruned.lengths)),
        flawed=(_mean([bool(f) for f in dense.flaws]), _mean([bool(f) for f in pruned.flaws])),
        kinds=(_kinds(dense.flaws), _kinds(pruned.flaws)),
        sound=(mean_of(scores[0], sound), mean_of(scores[1], sound)) if sound else None,
        sound_items=len(sound),
    )


@dataclass(frozen=True)
class Group:
    """Scores of the items that share a label."""

    field: str
    label: str
    items: int
    dense: float
    pruned: float


def groups(capability: Capability, dense: Record, pruned: Record) -> list[Group]:
    """Scores by each label of each field by which the capability is broken down.

    Where an item has several labels and the metric scores as many parts (IFEval's instructions), each part counts under
    its own label; otherwise the item counts under each of its labels.
    """
    found = []
    scores = [record.metrics[capability.metric] for record in (dense, pruned)]
    for field in capability.groups:
        members: dict[str, list[tuple[int, int]]] = {}
        for item, labels in enumerate(dense.fields[field]):
            for part, label in enumerate(labels):
                members.setdefault(label, []).append((item, part))
        for label in sorted(members):
            means = [_mean_of_parts(score, members[label], dense.fields[field]) for score in scores]
            found.append(Group(field, label, len(members[label]), *means))
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
