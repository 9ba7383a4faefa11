"""Our own measurements of cost as runs that can be judged, and what must be known of them before they are."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS, channels, counted, metered
from glu_prune.efficiency.meter import LEAST_SECONDS, LONG_ENOUGH, MEASURED
from glu_prune.efficiency.series import DENSE_LABEL, Series, Turn
from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Energy, Run, channel_energies, channel_name
from glu_prune.experiment.record import Record
from glu_prune.judgement.run_pairs import RunPair, percent
from glu_prune.judgement.scores import SEED
from glu_prune.results.findings import Finding
from glu_prune.statistics import comparison
from glu_prune.statistics.means import student_interval

_ENERGY = tuple(measure.name for measure in COST_METRICS.values() if measure.kind == "energy")

BUSY = "busy_machine"
"""The check that finds other processes at work."""
QUIET = 0.1
"""Share of the processors that other processes may use on a machine that is left alone."""


def runs(model: str, ratio: Decimal, series: Series, label: str) -> tuple[Run, ...]:
    """The turns of one arm as runs: all figures of `COST_METRICS`, and those that the checks of evidence know.

    Memory is that of a process; where there are more of them than turns, the last runs have nothing else.
    """
    arm = series.arms[label]
    values = {measure.name: measure.values(series, arm) for measure in COST_METRICS.values()}
    known = [{name: each[number] for name, each in values.items() if number < len(each)} for number in _numbers(values)]
    for figures, turn in zip(known, arm.turns, strict=False):
        figures.update(_totals(series, turn))
    metered: list[dict[str, Energy]] = [_energies(turn) for turn in arm.turns]
    metered += [{}] * (len(known) - len(metered))
    accelerator = "" if series.device == "cpu" else series.device
    return tuple(
        Run(model, ratio, number, series.workload.name, figures, energies, arm.width, accelerator)
        for number, (figures, energies) in enumerate(zip(known, metered, strict=True))
    )


def removed(measured: Sequence[Series], label: str) -> Decimal:
    """Of the neurons of a block of the dense model, how many the arm `label` lacks."""
    arms = measured[0].arms
    return 1 - Decimal(arms[label].width) / Decimal(arms[DENSE_LABEL].width)


def _energies(turn: Turn) -> dict[str, Energy]:
    return channel_energies({channel: reading.joules for channel, reading in turn.generation.readings.items()})


def _numbers(values: Mapping[str, Sequence[float]]) -> range:
    """Of rounds, and of processes where they are more."""
    return range(max(map(len, values.values())))


def _totals(series: Series, turn: Turn) -> dict[str, float]:
    """What one turn did, took and used, by the names that evidence has for it."""
    generation, batch_size = turn.generation, series.workload.batch_size
    return {
        "batch_size": batch_size,
        "measured_prompts": generation.batches * batch_size,
        "new_tokens": generation.new_tokens,
        "generation_seconds": sum(turn.last_token),
        "window_seconds": generation.seconds,
        "ttft_ms": 1000 * sum(turn.first_token) / len(turn.first_token),
    }


def findings(model: str, ratio: Decimal, measured: Sequence[Series], label: str) -> tuple[Finding, ...]:
    """What is wrong with measurements of the arm `label`, or must be known of them."""
    dense = [run for series in measured for run in runs(model, Decimal(0), series, DENSE_LABEL)]
    pruned = [run for series in measured for run in runs(model, ratio, series, label)]
    about = (model, ratio, measured)
    assumed = {
        channel_name(channel) for each in measured for channel, how in channels(each).items() if how not in MEASURED
    }
    return (
        *(
            each
            for each in examine(runs=[*dense, *pruned])
            if each.check != "energy_unit" or each.subject not in assumed
        ),
        *_busy(*about),
        *_drawn(*about),
        *_modelled(*about),
        *_short(*about),
        *_idle_above_load(*about),
        *_not_faster(*about, label),
    )


def _busy(model: str, ratio: Decimal, measured: Sequence[Series]) -> Iterator[Finding]:
    """Measurements while other processes worked."""
    for series in measured:
        turns = [turn for arm in series.arms.values() for turn in arm.turns]
        shares = [phase.other_load for turn in turns for phase in (turn.prefill, turn.generation)]
        if busy := sum(share > QUIET for share in shares):
            yield Finding(
                check=BUSY,
                model=model,
                subject=series.workload.name,
                says=f"other processes used more than {QUIET:.0%} of this machine's processors in {busy} of "
                f"{len(shares)} windows, and up to {max(shares):.0%}: they are in these times and energies. Close "
                "them, and measure again",
                ratios=(ratio,),
                workloads=(series.workload.name,),
            )


def _drawn(model: str, ratio: Decimal, measured: Sequence[Series]) -> Iterator[Finding]:
    """Workloads that are named after a benchmark and had none of its prompts."""
    for series in measured:
        if series.workload.benchmark and series.workload.benchmark not in series.prompts:
            yield Finding(
                check="drawn_prompts",
                model=model,
                subject=series.workload.name,
                says=f"prompts of {series.workload.name} were {series.prompts}, {series.workload.prompt_tokens} tokens "
                "each: there is no data for it in the folder that GLU_PRUNE_DATA names, or no tokenizer",
                ratios=(ratio,),
                workloads=(series.workload.name,),
            )


def _short(model: str, ratio: Decimal, measured: Sequence[Series]) -> Iterator[Finding]:
    """Windows too short for the counters that were read in them."""
    for series in measured:
        least = max((LEAST_SECONDS[how] for how in channels(series).values() if how in MEASURED), default=0.0)
        turns = [turn for arm in series.arms.values() for turn in arm.turns]
        seconds = [phase.seconds for turn in turns for phase in (turn.prefill, turn.generation)]
        if short := sum(each < LONG_ENOUGH * least for each in seconds):
            yield Finding(
                check="short_windows",
                model=model,
                subject=series.workload.name,
                says=f"{short} of {len(seconds)} windows are shorter than the {least:g} s that energy counters need "
                f"(the shortest {min(seconds):.2g} s): energies are coarse; take longer windows",
                spoils=frozenset(_ENERGY),
                ratios=(ratio,),
                workloads=(series.workload.name,),
                leaves_open=True,
            )


def _modelled(model: str, ratio: Decimal, measured: Sequence[Series]) -> Iterator[Finding]:
    """Energies that were not read from a meter, not for what computes."""
    workloads: dict[str, list[str]] = {}
    for series in measured:
        found = channels(series)
        if found and not metered(series):
            each = ", ".join(f"{channel}: {method}" for channel, method in sorted(found.items()))
            workloads.setdefault(each, []).append(series.workload.name)
    for each, names in workloads.items():
        yield Finding(
            check="modelled_energy",
            model=model,
            subject=", ".join(names),
            says=f"power is assumed ({each}), so energy saved is time saved. Nothing was read from a meter of what "
            "computes; where a counter (NVML, or RAPL that may be read) is at hand, more shows",
            spoils=frozenset(_ENERGY),
            ratios=(ratio,),
            workloads=tuple(names),
            leaves_open=True,
        )


def _idle_above_load(model: str, ratio: Decimal, measured: Sequence[Series]) -> Iterator[Finding]:
    """Channels that took more power idle than at work, so that something else ran while idle power was measured."""
    for series in measured:
        turns = [turn.generation for arm in series.arms.values() for turn in arm.turns]
        for channel, method in counted(series).items():
            if method not in MEASURED:
                continue
            above = sum(
                series.idle.above_load(channel, phase.readings[channel], phase.seconds)
                for phase in turns
                if channel in phase.readings
            )
            if 2 * above > len(turns):
                yield Finding(
                    check="idle_above_load",
                    model=model,
                    subject=f"{series.workload.name} {channel}",
                    says=f"{channel} took more power idle than at work in {above} of {len(turns)} windows: something "
                    "else ran while idle power was measured, and net energy says nothing; measure again",
                    spoils=frozenset({"net_joules_per_token"}),
                    ratios=(ratio,),
                    workloads=(series.workload.name,),
                    leaves_open=True,
                )


def _not_faster(model: str, ratio: Decimal, measured: Sequence[Series], label: str) -> Iterator[Finding]:
    """Arms that have fewer bytes and are not shown to answer sooner."""
    for series in measured:
        before, after = series.arms[DENSE_LABEL].parameter_bytes, series.arms[label].parameter_bytes
        times = (
            COST_METRICS["time_to_last_token"].values(series, series.arms[which]) for which in (DENSE_LABEL, label)
        )
        change = student_interval([math.log(one / other) for other, one in zip(*times, strict=True)])
        if after < before and change[2] >= 0:
            mean, low, high = map(percent, change)
            yield Finding(
                check="smaller_not_faster",
                model=model,
                subject=f"{series.workload.name} {label}",
                says=f"{label} has {1 - after / before:.0%} fewer bytes, and is not shown to be faster in "
                f"{series.workload.name}: the time of an answer changed by {mean:+.1f} % "
                f"({low:+.1f} to {high:+.1f} %)",
                ratios=(ratio,),
                workloads=(series.workload.name,),
            )


@dataclass(frozen=True)
class QuestionCost:
    """Questions that both arms answered by likelihood, so that their cost is that of prompt tokens alone."""

    tokens_per_question: float
    accuracy: float
    """Of the dense model."""
    log_accuracy_ratio: tuple[float, float]
    """(logarithm of the pruned model's accuracy over the dense model's, its standard error over the questions)."""

    @classmethod
    def of(cls, capability: Capability, dense: Record, pruned: Record) -> "QuestionCost":
        """What two records say.

        Raises:
            EvaluationError: answers were generated, tokens not counted, or an arm has no right answer.
        """
        if dense.positions is None:
            msg = f"what answered {capability.name} does not count its tokens, so there is no energy per correct answer"
            raise EvaluationError(msg)
        if len({each for one in (dense, pruned) for each in (one.scored_positions, one.positions)}) > 1:
            msg = (
                f"{capability.name} is answered in words whose number differs between arms; energy per correct answer "
                "is defined for questions with given choices"
            )
            raise EvaluationError(msg)
        before, after = (record.metrics[capability.metric] for record in (dense, pruned))
        if min(before.score, after.score) <= 0:
            msg = f"an arm answers no question of {capability.name} right, so there is no energy per correct answer"
            raise EvaluationError(msg)
        first, second = ([value / each.score for value in each.values] for each in (after, before))
        change = comparison.contrast(
            first,
            second,
            before.weights,
            clusters=dense.clusters(capability.cluster),
            seed=SEED,
        )
        return cls(
            tokens_per_question=dense.positions / len(dense.items),
            accuracy=before.score,
            log_accuracy_ratio=(math.log(after.score / before.score), change.standard_error),
        )

    def add(self, pairs: Sequence[RunPair]) -> list[RunPair]:
        """`pairs` with the energy per correct answer at the dense model's accuracy; see `log_accuracy_ratio`."""
        factor = self.tokens_per_question / self.accuracy
        return [(_answering(dense, factor), _answering(pruned, factor)) for dense, pruned in pairs]


def _answering(run: Run, factor: float) -> Run:
    per_token = run.figures.get("joules_per_prompt_token")
    extra = {} if per_token is None else {CORRECT_ANSWER: per_token * factor}
    return replace(run, figures={**run.figures, **extra})
