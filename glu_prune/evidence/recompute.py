"""Energy per token, channel by channel, from energies that can be taken for what they are named."""

from collections.abc import Iterable, Iterator
from statistics import fmean

from glu_prune.evidence.check import grouped
from glu_prune.evidence.figures import CHANNELS, PARTS, Run
from glu_prune.results.costs import RecomputedEnergy
from glu_prune.results.findings import Finding

SHOWN = (*PARTS, "rest", "total")
"""The keys of `RecomputedEnergy.joules`, in the order in which they are shown."""


def recompute(runs: Iterable[Run], findings: Iterable[Finding]) -> Iterator[RecomputedEnergy]:
    """From the energies of `runs` that no finding spoils for what they are, whatever was reported per token.

    A column belongs to the channel in its name: `codecarbon_gpu_kwh` to the GPU. Runs of unequal length are not made
    equal by this: see `unequal_lengths`.
    """
    spoilt = {(each.model, name) for each in findings if each.check == "energy_unit" for name in each.spoils}
    usable = [run for run in runs if run.figures.get("new_tokens", 0) > 0]
    for (model, workload, ratio), group in grouped(usable, lambda run: (run.model, run.workload, run.ratio)):
        each = [_per_token(run, spoilt) for run in group]
        shared = [channel for channel in CHANNELS if all(channel in one for one in each)]
        joules = {channel: fmean(one[channel] for one in each) for channel in shared}
        if "total" in joules and not set(PARTS) <= set(joules):
            joules["rest"] = joules["total"] - sum(joules[channel] for channel in joules if channel != "total")
        if joules:
            yield RecomputedEnergy(model=model, workload=workload, ratio=ratio, runs=len(group), joules=joules)


def _per_token(run: Run, spoilt: set[tuple[str, str]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, energy in run.energies.items():
        if energy.channel is not None and (run.model, name) not in spoilt:
            found.setdefault(energy.channel, energy.joules / run.figures["new_tokens"])
    return found
