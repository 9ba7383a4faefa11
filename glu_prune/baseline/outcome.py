"""What one arm of one model scored on one task by one metric: what of it is written down, and the items behind it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict

from glu_prune.errors import BaselineError
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.evaluation.metrics import LIKELIHOODS
from glu_prune.experiment.record import Record
from glu_prune.judgement.case import Case
from glu_prune.judgement.scores import tied
from glu_prune.statistics.means import mean

_MUST_AGREE = ("num_fewshot", "fewshot_seed", "chat_template", "part", "items", "answer_limit")
"""Of a record's settings: those by which other questions are asked, or answers cut elsewhere."""

CHAT = " (chat)"
"""Follows the name of a model that is asked in its chat template, wherever people read it."""
Fact = str | int | bool | float
Key = tuple[str, bool, str, str, str]
"""Model, whether it is asked in its chat template, arm, task and metric."""


class Strict(BaseModel):
    """Frozen, and closed to fields it does not know and numbers that are not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Band(Strict):
    """How far the dense model moves from itself when nothing but its way of computing changes."""

    score: float
    """The difference of the two scores, in the unit of differences (nats for perplexities)."""
    items: int
    """How many items changed."""
    run: str
    """How it was answered the second time."""


class About(Strict):
    """An outcome without its items: what a baseline's text says of it."""

    model: str
    """By its one name, see `names`: what the user declares the outcome to be about, whatever its weights are."""
    weights: str | None = None
    """Fingerprint of the model's files; these may differ. None if it is not known."""
    arm: str
    capability: str
    """The task's name where no capability is known to be measured by it."""
    task: str
    metric: str
    higher_is_better: bool
    score: float
    """As lm-eval aggregates it."""
    n: int
    """How many items."""
    floor: float | None = None
    """The best score that answers without content reach on the same items; None if it is not known."""
    floor_of: str | None = None
    """Which answers these are."""
    comparable: Mapping[str, Fact] = {}
    """What must be equal for two outcomes to be comparable, where both say it."""
    settings: Mapping[str, Fact] = {}
    """How it was computed; this may differ."""
    record: str | None = None
    """The key of the record in a store: a fingerprint of all that it depends on. None if there was no store."""
    band: Band | None = None

    @property
    def key(self) -> Key:
        """What makes two outcomes ones of the same thing."""
        return self.model, self.chat, self.arm, self.task, self.metric

    @property
    def chat(self) -> bool:
        """Whether the model is asked in its chat template."""
        return bool(self.comparable.get("chat_template"))

    @property
    def subject(self) -> str:
        """The model for people, and whether it is asked in its chat template."""
        return self.model + (CHAT if self.chat else "")

    @property
    def name(self) -> str:
        """For people."""
        what = self.capability if self.capability == self.task else f"{self.capability} ({self.task})"
        return f"{self.subject} {self.arm} {what} {self.metric}"

    @property
    def called(self) -> tuple[str, ...]:
        """By what names it can be allowed to be missing."""
        return self.model, self.model.removeprefix("./"), self.arm, self.capability, self.task

    @property
    def logarithmic(self) -> bool:
        """Whether values are nats (or bits) per unit."""
        return self.metric in LIKELIHOODS


@dataclass(frozen=True)
class Outcome:
    """A score with what is behind it; columns hold one entry per item."""

    about: About
    items: tuple[str, ...]
    """What identifies each item and its prompt: hexadecimal digits."""
    values: tuple[float, ...]
    weights: tuple[float, ...]
    clusters: tuple[str, ...] | None = None
    """The source that each item shares with others; None where items are independent."""

    def __post_init__(self) -> None:
        """Raises `BaselineError` if an item occurs twice: it could not be paired."""
        item, count = Counter(self.items).most_common(1)[0] if self.items else ("", 0)
        if count != 1:
            what = f"item {item} occurs {count} times" if count else "there is no item"
            msg = f"{self.about.name}: {what}; every item must occur once"
            raise BaselineError(msg)

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Item to its place."""
        return {item: index for index, item in enumerate(self.items)}


def capability_of(task: str, metric: str) -> Capability | None:
    """The capability of a suite that is measured by `metric` of `task`; None if there is none."""
    every = (each for suite in SUITES.values() for each in suite.values())
    return next((each for each in every if (each.task, each.metric) == (task, metric)), None)


def known(task: str, metrics: Sequence[str]) -> Iterator[Capability]:
    """What `metrics` of `task` measure: the capabilities of suites, or if these know none of them, all of them."""
    found = [each for metric in metrics if (each := capability_of(task, metric)) is not None]
    rest = (
        Capability(task, task, metric, "", higher_is_better=metric not in LIKELIHOODS) for metric in sorted(metrics)
    )
    yield from found or rest


def comparable(record: Record) -> dict[str, str | int]:
    """Of the settings of `record` those that must agree."""
    return {each: record.settings[each] for each in _MUST_AGREE if each in record.settings}


def arm_name(label: str, seed: object) -> str:
    """The arm, and the seed of what was drawn for it."""
    return label + (f" (seed {seed})" if seed else "")


def keys_of(case: Case, model: str) -> Iterator[Key]:
    """Of the outcomes that judging `case` gives, if that is about the model of this name."""
    for needed in case.requirements():
        for arm in () if needed.divergent else map(case.taken, needed.arms):
            what = needed.capability.task, needed.capability.metric
            yield model, case.experiment.chat_template, arm_name(arm.label, arm.seed), *what


def outcome(
    record: Record,
    model: str,
    capability: Capability,
    floor: tuple[str, float] | None = None,
    band: Band | None = None,
) -> Outcome:
    """What `record`, which is one of `model`, says of `capability`.

    `floor` is the name of the best null model and its score.
    """
    scores = record.metrics[capability.metric]
    name, best = floor or (None, None)
    about = About(
        model=model,
        weights=record.weights,
        arm=arm_name(record.arm, record.settings.get("seed")),
        capability=capability.name,
        task=record.task,
        metric=capability.metric,
        higher_is_better=capability.higher_is_better,
        score=scores.score,
        n=len(record.items),
        floor=best,
        floor_of=name,
        comparable=comparable(record),
        settings={each: value for each, value in record.settings.items() if each not in (*_MUST_AGREE, "dtype_why")},
        record=record.key,
        band=band,
    )
    return Outcome(about, record.items, scores.values, scores.weights, record.clusters(capability.cluster))


def band(record: Record, again: Record, metric: str) -> Band:
    """How far apart two scores of one model on the same items are, but for what rounding makes of an item."""
    first, second, how = record.metrics[metric], again.metrics[metric], again.settings
    values = tied(second.values, first.values)
    changed = sum(one != other for one, other in zip(values, first.values, strict=True))
    moved = abs(mean(values, first.weights) - mean(first.values, first.weights)) if changed else 0.0
    return Band(score=moved, items=changed, run=f"batches of {how['batch_size']}, threads: {how['threads']}")
