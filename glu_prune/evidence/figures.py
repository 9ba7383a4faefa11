"""Figures that others published, as typed rows; our own records can be put into the same rows and be judged alike.

To feed records: one `Score` per record and metric, with `items` the number of items, and `text` empty (a float has all
its digits); one `Run` per record and repetition, with the figures that `Run.figures` names.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

from glu_prune.efficiency import meter
from glu_prune.evaluation.metrics import on_scale, scale_of
from glu_prune.evidence.csv_rows import CsvRow, read_rows
from glu_prune.units import JOULES_PER_KILOWATT_HOUR

FIGURES: Mapping[str, str] = {
    "reported_ttft_ms": "ttft_ms",
    "reported_tokens_per_second": "tokens_per_second",
    "reported_joules_per_token": "joules_per_token",
    "idle_power_watts": "idle_watts",
}
"""Columns of efficiency_runs.csv whose figure has another name in `Run.figures`; all others keep theirs."""
PARTS = tuple(sorted(meter.CHANNELS, key=lambda channel: channel not in meter.ACCELERATORS))
"""What an energy may be that of, the accelerator first."""
CHANNELS = (*PARTS, "total")
"""These, and `total`, which is that of all."""
_ENERGY_ENDINGS = {"_kwh": "kwh", "_joules": "joules", "_j": "joules"}
"""How the name of an energy ends, and its unit."""
_JOULES = {"kwh": JOULES_PER_KILOWATT_HOUR, "joules": 1.0}
"""How many joules a unit is."""
_GPU = "gpu"
_LABELS = ("model", "pruning_ratio", "seed", "workload", _GPU)
"""Columns of efficiency_runs.csv that are no figures."""
_SCORE_KEY = ("model", "pruning_ratio", "task", "metric")
_WIDTH = "intermediate_size"
"""The column of scores.csv that says how many neurons a block has; it may be absent."""


@dataclass(frozen=True)
class Score:
    """One aggregate on one task."""

    model: str
    ratio: Decimal
    task: str
    metric: str
    """lm-eval's key; a filter may follow after a comma."""
    value: float
    stderr: float | None
    """As published with the value, None where it was not."""
    items: int | None
    """How many items it is the mean of."""
    source: str
    sources: int | None = None
    """How many sources the items have, such as prompts of several instructions; None if each item has its own."""
    text: str = ""
    """The value as it was written, which says to how many digits; empty if it was never rounded."""

    @property
    def rounding(self) -> float:
        """Half a unit of the last digit that was written; 0 if it was never rounded."""
        try:
            exponent = Decimal(self.text).as_tuple().exponent
        except InvalidOperation:
            return 0.0
        return 0.5 * 10.0**exponent if isinstance(exponent, int) else 0.0

    @property
    def units(self) -> int | None:
        """How many of the items are independent."""
        return self.sources or self.items

    @property
    def scale(self) -> str:
        """The unit in which it is compared, as `scale_of` gives it."""
        return scale_of(self.metric)

    @property
    def binary(self) -> bool:
        """Whether its items are right or wrong; MC2 is a mean of probabilities, whatever its metric is called."""
        bare = self.metric.partition(",")[0]
        named = bare in ("acc", "acc_norm", "exact_match", "mc1") or bare.startswith(("prompt_level_", "inst_level_"))
        return named and not self.task.endswith("mc2")

    @property
    def compared(self) -> float:
        """The value on that scale."""
        return on_scale(self.metric, self.value)


@dataclass(frozen=True)
class Energy:
    """An energy of a run, if it is what it is named."""

    value: float
    """As it was given."""
    channel: str | None
    """What took it: one of `CHANNELS`; None if its name does not tell."""
    unit: str
    """In which it was given: `kwh` or `joules`."""

    @property
    def joules(self) -> float:
        """The energy in joules."""
        return self.value * _JOULES[self.unit]

    @property
    def kilowatt_hours(self) -> float:
        """The energy in kWh; what was given in kWh is not rounded on the way."""
        return self.value * (_JOULES[self.unit] / JOULES_PER_KILOWATT_HOUR)


def channel_energies(joules: Mapping[str, float]) -> dict[str, Energy]:
    """Our own readings, channel to joules, under the names that findings give them."""
    return {channel_name(channel): Energy(value, channel, "joules") for channel, value in joules.items()}


def channel_name(channel: str) -> str:
    """What findings call the energy of a channel that we read."""
    return f"energy_{channel}_joules"


@dataclass(frozen=True)
class Run:
    """One efficiency run."""

    model: str
    ratio: Decimal
    seed: int
    workload: str
    figures: Mapping[str, float]
    """Only what has a number; the checks know `new_tokens`, `measured_prompts`, `batch_size`, `generation_seconds`,
    `window_seconds` (during which energy was metered), `ttft_ms`, `tokens_per_second` and `joules_per_token`."""
    energies: Mapping[str, Energy] = field(default_factory=dict)
    """By the names that they have where they were published."""
    width: int = 0
    """Neurons of a GLU block; 0 where that is not known."""
    accelerator: str = ""
    """What computed beside a CPU; empty where nothing did, or that is not known."""

    @classmethod
    def of_columns(cls, model: str, ratio: Decimal, seed: int, workload: str, columns: Mapping[str, float]) -> "Run":
        """The run in a row of a table, whose energies end in `_kwh`, `_joules` or `_j` and are named at will."""
        energies = {name: energy for name, value in columns.items() if (energy := _energy(name, value)) is not None}
        figures = {FIGURES.get(name, name): value for name, value in columns.items() if name not in energies}
        return cls(model, ratio, seed, workload, figures, energies)

    def value(self, name: str) -> float:
        """A figure, or an energy in kWh; 0 where there is none."""
        if (energy := self.energies.get(name)) is not None:
            return energy.kilowatt_hours
        return self.figures.get(name, 0.0)


def _energy(name: str, value: float) -> Energy | None:
    """The energy in a column of that name; None if the name is not that of an energy."""
    end = next((end for end in _ENERGY_ENDINGS if name.endswith(end)), None)
    if end is None:
        return None
    channel = next((each for each in CHANNELS if f"_{each}_" in f"_{name}"), None)
    return Energy(value, channel, _ENERGY_ENDINGS[end])


@dataclass(frozen=True)
class Floor:
    """What output without content scores on the same items."""

    task: str
    metric: str
    null: str
    """The null model."""
    score: float
    sd: float | None
    """Standard deviation over items, on the scale on which scores are compared."""
    items: int


@dataclass(frozen=True)
class StandardError:
    """How far a score may be from what more items would give."""

    value: float | None
    """In `Score.scale`; None if none can be given."""
    how: str
    """Where it comes from, in words."""


@dataclass(frozen=True)
class Evidence:
    """All rows, in the order of their files."""

    scores: tuple[Score, ...] = ()
    runs: tuple[Run, ...] = ()
    floors: tuple[Floor, ...] = ()

    def score(self, model: str, ratio: Decimal, task: str, metric: str) -> Score | None:
        """The score, if there is one; a metric without filter also finds its first with one."""
        rows = [each for each in self.scores if (each.model, each.ratio, each.task) == (model, ratio, task)]
        exact = [each for each in rows if each.metric == metric]
        filtered = [each for each in rows if each.metric.startswith(f"{metric},")]
        return next(iter(exact + filtered), None)

    def floors_of(self, task: str, metric: str) -> tuple[Floor, ...]:
        """The floors of a metric; if it has none, those of the metric without its filter, or with the first one."""
        rows = [each for each in self.floors if each.task == task]
        names = [each.metric for each in rows]
        bare = metric.partition(",")[0]
        fitting = (
            [metric, bare] if "," in metric else [metric, *(each for each in names if each.startswith(f"{bare},"))]
        )
        name = next((each for each in fitting if each in names), None)
        return tuple(each for each in rows if each.metric == name)

    def floor(self, score: Score, null: str) -> Floor | None:
        """What the null model scores where `score` was measured."""
        return next((each for each in self.floors_of(score.task, score.metric) if each.null == null), None)


def standard_error(score: Score) -> StandardError:
    """The published standard error, else the binomial one, else, for likelihoods, one that is rather too large.

    A published error of 0 is not taken for an error: no score is that certain.
    """
    if score.stderr:
        # The error of a log is the relative error: d log x = dx / x.
        nats = score.scale == "nats"
        how = "reported, relative to the score" if nats else "reported"
        return StandardError(score.stderr / score.value if nats else score.stderr, how)
    if score.units is not None and score.scale == "score" and 0 <= score.value <= 1:
        # At 0 and 1 the formula gives 0, which no finite sample warrants: add two of each (Agresti & Coull 1998).
        p = score.value if 0 < score.value < 1 else (score.value * score.units + 2) / (score.units + 4)
        # Of all items between 0 and 1 with this mean, those that are 0 or 1 vary most.
        how = "binomial" if score.binary else "binomial; an upper bound for scores between 0 and 1 that are not 0/1"
        return StandardError(math.sqrt(p * (1 - p) / score.units), how)
    if score.units is not None and score.scale != "score":
        # Nats of single words vary about as much as their mean (as waiting times do), those of whole texts much less.
        how = "assumed: items that vary as much as their mean"
        return StandardError(score.compared / math.sqrt(score.units), how)
    return StandardError(None, "no standard error can be given")


def read_evidence(folder: Path) -> Evidence:
    """The evidence in `folder`: scores.csv, efficiency_runs.csv, items.csv and, if it is there, floors.csv.

    Raises:
        ExpectationError: a file is missing or malformed.
    """
    floors = folder / "floors.csv"
    items = tuple(_items(folder / "items.csv"))
    return Evidence(
        scores=tuple(_scores(folder / "scores.csv", items)),
        runs=tuple(_runs(folder / "efficiency_runs.csv", _widths(folder / "scores.csv"))),
        floors=tuple(_floors(floors)) if floors.exists() else (),
    )


@dataclass(frozen=True)
class _Count:
    """How many items a metric of a task is over."""

    task: str
    pattern: str
    items: int
    sources: int | None


def _items(path: Path) -> Iterator[_Count]:
    for row in read_rows(path, ("task", "metric", "items", "sources"), key=("task", "metric")):
        sources = row.count("sources") if row.cells["sources"] else None
        yield _Count(row.text("task"), row.text("metric"), row.count("items"), sources)


def _scores(path: Path, counts: tuple[_Count, ...]) -> Iterator[Score]:
    for row in read_rows(path, (*_SCORE_KEY, "value", "stderr", "source"), key=_SCORE_KEY):
        task, metric = row.text("task"), row.text("metric")
        fitting = (each for each in counts if each.task == task and fnmatch.fnmatchcase(metric, each.pattern))
        count = next(fitting, None)
        score = Score(
            model=row.text("model"),
            ratio=row.ratio("pruning_ratio"),
            task=task,
            metric=metric,
            value=row.number("value"),
            stderr=row.optional("stderr", least=0),
            items=count.items if count else None,
            source=row.text("source"),
            sources=count.sources if count else None,
            text=row.text("value"),
        )
        _refuse_perplexity_below_one(row, metric, score.value)
        yield score


def _widths(path: Path) -> dict[tuple[str, Decimal], int]:
    """Model and ratio to how many neurons a block has, where that is given."""
    found: dict[tuple[str, Decimal], int] = {}
    for row in read_rows(path, _SCORE_KEY, key=_SCORE_KEY):
        if not row.cells.get(_WIDTH):
            continue
        width = row.count(_WIDTH)
        if (first := found.setdefault((row.text("model"), row.ratio("pruning_ratio")), width)) != width:
            msg = f"{_WIDTH} is {width}; {first} was given for the same model and ratio"
            raise row.refuse(msg)
    return found


def _runs(path: Path, widths: Mapping[tuple[str, Decimal], int]) -> Iterator[Run]:
    key = ("model", "pruning_ratio", "seed", "workload")
    for row in read_rows(path, key, key=key):
        model, ratio = row.text("model"), row.ratio("pruning_ratio")
        run = Run.of_columns(
            model=model,
            ratio=ratio,
            seed=row.count("seed", least=0),
            workload=row.text("workload"),
            columns=dict(_figures(row)),
        )
        yield replace(run, width=widths.get((model, ratio), 0), accelerator=row.cells.get(_GPU, ""))


def _figures(row: CsvRow) -> Iterator[tuple[str, float]]:
    for column in row.cells:
        if column not in _LABELS and (value := row.optional(column)) is not None:
            yield column, value


def _floors(path: Path) -> Iterator[Floor]:
    key = ("task", "metric", "null")
    for row in read_rows(path, (*key, "score", "sd", "items"), key=key):
        metric, score, sd = row.text("metric"), row.number("score"), row.optional("sd", least=0)
        _refuse_perplexity_below_one(row, metric, score)
        yield Floor(row.text("task"), metric, row.text("null"), score, sd, row.count("items"))


def _refuse_perplexity_below_one(row: CsvRow, metric: str, value: float) -> None:
    if scale_of(metric) == "nats" and value < 1:
        msg = f"{metric} is {value:g}; allowed: a number >= 1, as a perplexity is"
        raise row.refuse(msg)
