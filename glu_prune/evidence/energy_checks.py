"""Checks of energies: figures that are named energies and are something else."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from glu_prune.evidence.check import grouped, ratios_of, workloads_of
from glu_prune.evidence.figures import Evidence, Run
from glu_prune.results.findings import Finding
from glu_prune.units import JOULES_PER_KILOWATT_HOUR

LEAST_RUNS = 5
"""With fewer runs a constant factor may be luck."""
SAME = 1e-4
"""Relative spread below which a ratio is one number; two meters never agree so well."""
SAME_POWER = 0.01
"""Relative spread below which a power is constant; start and end of a window are cut no finer."""
VARIED = 1.2
"""Longest over shortest run from which a constant power says something."""
GRIDS = (0.01, 1.2)
"""kg of CO2eq per kWh: from hydropower and nuclear power to lignite."""
DURATIONS = ("window_seconds", "generation_seconds")
_UNITS = (3.6e3, 3.6e6, 3.6e9)
"""J per Wh, kWh and MWh; powers of ten come on top."""

Values = Sequence[float]


@dataclass(frozen=True)
class _Table:
    """Runs of one model as columns; `energies` in kWh, if they are what they are named."""

    model: str
    runs: tuple[Run, ...]

    @property
    def energies(self) -> tuple[str, ...]:
        return tuple(sorted({name for run in self.runs for name in run.energies}))

    def having(self, *names: str) -> "_Table | None":
        """Those runs that have all of `names`, above zero; None if they are too few."""
        runs = tuple(run for run in self.runs if all(run.value(name) > 0 for name in names))
        return _Table(self.model, runs) if len(runs) >= LEAST_RUNS else None

    def column(self, name: str) -> Values:
        """The figure of each run, energies in kWh."""
        return [run.value(name) for run in self.runs]

    def power(self, energy: str, duration: str) -> float | None:
        """Watts, if `energy` is one power times `duration` in runs of various durations."""
        table = self.having(energy, duration)
        if table is None or _spread(table.column(duration)) < VARIED - 1:
            return None
        return _constant(_each(_watts, table.column(energy), table.column(duration)), SAME_POWER)


def energy_unit(evidence: Evidence) -> Iterator[Finding]:
    """Energies that are a constant multiple of another, by a factor that converts no unit of energy.

    Two meters, or two channels, never keep one ratio through runs of various loads. Two assumed powers times the same
    seconds do, so of those nothing is said here, which also spares kg of CO2 of an assumed power; `constant_power`
    names them.
    """
    for table in _tables(evidence):
        for pair in itertools.combinations(table.energies, 2):
            both = table.having(*pair)
            if both is None or any(table.power(name, duration) for name in pair for duration in DURATIONS):
                continue
            small, large = sorted(pair, key=lambda name: (sum(both.column(name)), name))
            quotients = _each(_divide, both.column(small), both.column(large))
            factor = _constant(quotients, SAME)
            if factor is not None and not _converts(factor):
                yield _unit_finding(both, small, large, factor, _spread(quotients))


def _unit_finding(table: _Table, small: str, large: str, factor: float, spread: float) -> Finding:
    says = (
        f"{small} is {factor:.6g} x {large} in each of {len(table.runs)} runs (relative spread {spread:.0e}), and no "
        "unit of energy becomes another by that factor: one of the two is computed from the other and is not an energy"
    )
    suspects: tuple[str, ...] = (small, large)
    if GRIDS[0] <= factor < 1 / GRIDS[1]:
        suspects = (small,)
        says += f". It is within the carbon intensities of grids: {small} looks like kg of CO2 taken for kWh"
        says += _below(table, small, large)
    elif factor >= 1 / GRIDS[1]:
        says += f". {factor:.3g} and {1 / factor:.3g} are both within the carbon intensities of grids, in kg per kWh"
    derived = dict(_derived(table, suspects, {small, large}))
    if derived:
        says += f". Derived from it: {'; '.join(derived.values())}"
    return Finding(
        check="energy_unit",
        model=table.model,
        subject=suspects[0],
        says=f"{says}. Ratios of {' and '.join(suspects)} survive, absolute values do not"
        + (", and neither does what is derived" if derived else ""),
        spoils=frozenset({*suspects, *derived}),
        ratios=ratios_of(table.runs),
        workloads=workloads_of(table.runs),
    )


def _below(table: _Table, small: str, large: str) -> str:
    """Which other energies the suspect never reaches; one of them may be a part of what it should be."""
    others = [
        name
        for name in table.energies
        if name not in (small, large)
        and table.having(name, small) == table
        and all(a < b for a, b in zip(table.column(small), table.column(name), strict=True))
    ]
    return f", and it is below {' and '.join(others)} in every run" if others else ""


def _derived(table: _Table, suspects: Sequence[str], known: set[str]) -> Iterator[tuple[str, str]]:
    """Figures that are computed from a suspect, and how: it less a constant power, and joules per token of either."""
    tainted = list(suspects)
    for name, suspect in itertools.product(table.energies, suspects):
        if name not in known and (how := _less_constant_power(table, name, suspect)):
            tainted.append(name)
            yield name, how
    for name in tainted:
        rest = table.having(name, "new_tokens", "joules_per_token")
        if rest and _constant(_each(_divide, rest.column("joules_per_token"), _per_token(rest, name)), SAME, at=1):
            in_kwh = rest.runs[0].energies[name].unit == "kwh"
            unit = f"{JOULES_PER_KILOWATT_HOUR:,.0f} x " if in_kwh else ""
            yield "joules_per_token", f"joules_per_token = {unit}{name} / new_tokens"


def _per_token(table: _Table, energy: str) -> Values:
    return [
        kwh * JOULES_PER_KILOWATT_HOUR / tokens
        for kwh, tokens in zip(table.column(energy), table.column("new_tokens"), strict=True)
    ]


def _less_constant_power(table: _Table, name: str, suspect: str) -> str | None:
    for duration in DURATIONS:
        rest = table.having(name, suspect, duration)
        if rest is None:
            continue
        lost = [a - b for a, b in zip(rest.column(suspect), rest.column(name), strict=True)]
        watts = _constant(_each(_watts, lost, rest.column(duration)), SAME)
        if watts is not None and watts > 0:
            return f"{name} = {suspect} - {watts:.6g} W x {duration}"
    return None


def constant_power(evidence: Evidence) -> Iterator[Finding]:
    """Energies that are one power times the seconds in every run: they may be used, but say no more than the time."""
    for table in _tables(evidence):
        for name in table.energies:
            found = ((duration, table.power(name, duration)) for duration in DURATIONS)
            duration, watts = next(((each, watts) for each, watts in found if watts is not None), ("", None))
            runs = table.having(name, duration)
            if watts is not None and runs is not None:
                yield _power_finding(runs, name, duration, watts)


def _power_finding(table: _Table, name: str, duration: str, watts: float) -> Finding:
    return Finding(
        check="constant_power",
        model=table.model,
        subject=name,
        says=f"{name} is {watts:.3g} W x {duration} in each of {len(table.runs)} runs, within {SAME_POWER:.0%}: "
        "an assumed power, or a device at its limit. A saving in it is only one of time",
        ratios=ratios_of(table.runs),
        workloads=workloads_of(table.runs),
    )


def _tables(evidence: Evidence) -> Iterator[_Table]:
    for model, runs in grouped(evidence.runs, lambda run: run.model):
        yield _Table(model, runs)


def _divide(a: float, b: float) -> float:
    return a / b


def _watts(kwh: float, seconds: float) -> float:
    return kwh * JOULES_PER_KILOWATT_HOUR / seconds


def _each(function: Callable[[float, float], float], first: Values, second: Values) -> Values:
    return [function(a, b) for a, b in zip(first, second, strict=True)]


def _spread(values: Values) -> float:
    """Largest over smallest, less 1; infinite unless all have one sign."""
    low, high = sorted((min(values), max(values)), key=abs)
    return abs(high / low) - 1 if low * high > 0 else float("inf")


def _constant(values: Values, tolerance: float, *, at: float | None = None) -> float | None:
    """The mean of `values` if they are one number (`at`, if given), but for `tolerance`."""
    mean = sum(values) / len(values)
    near = at is None or abs(mean - at) <= tolerance
    return mean if _spread(values) < tolerance and near else None


def _converts(factor: float) -> bool:
    """Whether `factor` is a power of ten or takes one unit of energy to another."""
    exponent = math.log10(factor)
    units = (*_UNITS, *(1 / unit for unit in _UNITS), 10 ** round(exponent))
    return any(abs(factor / unit - 1) < SAME for unit in units)
