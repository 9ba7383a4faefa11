"""The table of two ways to run a sweep: how long they take, and whether they answer alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glu_prune.evaluation.metrics import on_scale
from perf.sweep_items import Benchmark
from perf.usual_loop import Answers, Turn

TOLERANCE = 1e-3
"""By how much a log-likelihood, in nats, or a score may differ in float32."""
SHOWN = {"usual": "the usual loop", "charitable": "the charitable loop (TaskManager built once)"}


@dataclass(frozen=True)
class Agreement:
    """How far two models' answers to the same items are apart."""

    difference: float
    """The largest, of log-likelihoods in nats."""
    changed: int
    """Items with another likeliest choice, or right in one and wrong in the other; or with another text."""
    score: float
    """The largest difference of a score, of perplexities in nats; not of texts: IFEval's scorer draws lots."""
    rounded: int = 0
    """Those of the changed that are texts in which rounding may have decided on a token."""

    @property
    def holds(self) -> bool:
        """Whether the answers are the same, but for rounding in float32."""
        return self.changed == self.rounded and max(self.difference, self.score) <= TOLERANCE

    def __add__(self, other: "Agreement") -> "Agreement":
        """That of both together."""
        return Agreement(
            max(self.difference, other.difference),
            self.changed + other.changed,
            max(self.score, other.score),
            self.rounded + other.rounded,
        )


SAME = Agreement(0.0, 0, 0.0)


def compare(one: Answers, other: Answers) -> Agreement:
    """The answers of one task by both, the other of which says which of its texts are near ties."""
    pairs = list(zip(one.likelihoods, other.likelihoods, strict=True))
    scores = [(name, score, other.scores[name]) for name, score in one.scores.items() if pairs]
    changed = {index for index, (a, b) in enumerate(zip(one.texts, other.texts, strict=True)) if a != b}
    rounded = sum(other.near_ties[index] for index in changed) if other.near_ties else 0
    changed |= {index for index, (a, b) in enumerate(pairs) if a.index(max(a)) != b.index(max(b))}
    for name, marks in one.marks.items() if pairs else ():
        halves = enumerate(zip(marks, other.marks[name], strict=True))
        changed |= {index for index, (a, b) in halves if abs(a - b) > 0.5}
    return Agreement(
        difference=max((_apart(x, y) for a, b in pairs for x, y in zip(a, b, strict=True)), default=0.0),
        changed=len(changed),
        score=max((_apart(on_scale(name, a), on_scale(name, b)) for name, a, b in scores), default=0.0),
        rounded=rounded,
    )


def _apart(one: float, other: float) -> float:
    """How far two numbers are apart; infinitely, if one is none."""
    return abs(one - other) if math.isfinite(one) and math.isfinite(other) else math.inf


@dataclass(frozen=True)
class Row:
    """What one benchmark, or one part of the work, took in all ratios."""

    name: str
    usual: Sequence[float]
    """Seconds, one per ratio."""
    ours: Sequence[float]
    items: int = 0
    batch: int = 0
    """Of the usual loop; 0 where nothing is answered."""
    tokens: tuple[int, int] = (0, 0)
    agreement: Agreement = SAME

    def __str__(self) -> str:
        """Its line in the table."""
        what = f"{self.items:>7,}{self.batch or '':>7}" if self.items else " " * 14
        seconds = f"{sum(self.usual):>10.1f}{sum(self.ours):>9.1f}"
        tokens = f"{self.tokens[0]:>13,}{self.tokens[1]:>13,}" if self.items else " " * 26
        differ = f"{self.agreement.difference:>10.1e}{self.agreement.changed:>9}" if self.items else ""
        return f"{self.name:<20}{what}{seconds}{tokens}{self._times():>7}{self._range():>15}{differ}".rstrip()

    def _times(self) -> str:
        return times(sum(self.usual), sum(self.ours)) if any(self.ours) else ""

    def _range(self) -> str:
        if not all(self.ours):
            return ""
        each = sorted(a / b for a, b in zip(self.usual, self.ours, strict=True))
        return f"{each[0]:.1f}..{each[-1]:.1f}"


HEAD = (
    f"{'':<34}{'seconds:':>10}{'tokens:':>22}{'times':>20}{'at single':>15}{'largest':>10}{'changed':>9}\n"
    f"{'':<20}{'items':>7}{'batch':>7}{'usual':>10}{'ours':>9}{'usual':>13}{'ours':>13}{'faster':>7}"
    f"{'ratios':>15}{'in nats':>10}{'choices':>9}"
)


def times(usual: float, ours: float) -> str:
    """How many times faster ours is."""
    return f"{usual / ours:.1f} x"


def make_row(benchmark: Benchmark, batch: int, turns: Sequence[tuple[Turn, Turn]]) -> Row:
    """The line of a benchmark; `turns` holds the usual loop's and ours, by ratio."""
    agreement = sum(
        (compare(one.answers[task], other.answers[task]) for one, other in turns for task in benchmark.tasks), SAME
    )
    return Row(
        benchmark.name,
        [one.seconds for one, _ in turns],
        [other.seconds for _, other in turns],
        benchmark.items,
        batch,
        (sum(one.tokens for one, _ in turns), sum(other.tokens for _, other in turns)),
        agreement,
    )


def totals(rows: Sequence[Row]) -> tuple[list[str], Agreement]:
    """The last lines of what `rows`, the last of them TaskManager's, come to; and how far all answers agree."""
    indexing = rows[-1].usual
    usual, ours = (sum(sum(getattr(row, name)) for row in rows) for name in ("usual", "ours"))
    charitable = usual - sum(indexing[1:])
    lines = [
        f"total {seconds:.0f} s -> {ours:.0f} s: {times(seconds, ours)} faster than {SHOWN[name]}"
        for name, seconds in (("charitable", charitable), ("usual", usual))
    ]
    return lines, sum((row.agreement for row in rows), SAME)


def verdict(agreement: Agreement, *, exact: bool) -> str:
    """Whether both gave the same answers; what differs is a failure where arithmetic is `exact`."""
    why = f" ({agreement.rounded} of them texts with a near tie)" if agreement.rounded else ""
    found = (
        f"{agreement.changed} choices or texts changed{why}, log-likelihoods differ by up to "
        f"{agreement.difference:.1e} nats, scores by up to {agreement.score:.1e}"
    )
    if agreement.holds:
        return found
    return f"NOT THE SAME ANSWERS: {found}" if exact else f"{found}: half precision rounds"
