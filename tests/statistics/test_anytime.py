"""Tests that may be looked at all the time: error rates and coverage over all looks at once, power, and coherence."""

import math

import numpy as np
import pytest
from scipy.special import log_ndtr
from scipy.stats import binom, multinomial

from glu_prune.statistics.anytime import MIN_UNITS, AsymptoticSequence, BettingEProcess, boundary, log_mixture
from glu_prune.statistics.comparison import contrast, items_needed

RUNS, N = 300, 512
EVERY = range(16, N + 1, 16)
"""Looks after every 16 units, which is far more often than a session looks."""
DOUBLING = (128, 256, 512)
"""Looks of a session at perplexities, of which few and skewed ones say too little about their own variance."""

BETS = 0.99 * 2.0 ** (-np.arange(16) / 2)


def at_most(rate: float, runs: int = RUNS) -> float:
    """Plus three standard errors of simulation."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / runs)


def of(changes, weights=None, clusters=None, *, ratio=False, anytime=True):
    """What is known of the changes so far."""
    half = np.zeros(len(changes)) if ratio else np.maximum(0.0, -changes)
    weights = np.ones(len(changes)) if weights is None else weights
    return contrast(changes + half, half, weights, clusters=clusters, ratio=ratio, anytime=anytime, seed=0)


def binary(rng, effect: float, changed: float = 0.3):
    return rng.choice([1.0, -1.0, 0.0], N, p=[(changed + effect) / 2, (changed - effect) / 2, 1 - changed]), {}


def bounded(rng, effect: float):
    """Differences of shares, skewed: large losses are rare."""
    return np.clip(0.25 * (1 - rng.gamma(1.0, 1.0, N).clip(max=5)) + 0.25 * (math.exp(-5) * -1), -1, 1) + effect, {}


def nats(rng, effect: float):
    """Nats per word of texts of uneven length, with heavy tails."""
    return 0.3 * (rng.gamma(0.5, 1.0, N) - 0.5) + effect, {"weights": rng.integers(5, 200, N) * 1.0, "ratio": True}


def clusters(rng, effect: float):
    """Right-or-wrong items, 1 to 12 a cluster, whose changes depend on their cluster."""
    names = np.repeat(np.arange(N), rng.integers(1, 13, N))
    lean = rng.normal(effect, 0.15, N).clip(-0.3, 0.3)[names]
    draw = rng.random(len(names))
    return (draw < 0.2 + lean / 2) * 1.0 - (draw > 0.8 + lean / 2), {"clusters": names}


def weighted(rng, effect: float):
    """Shares of one to three constraints obeyed."""
    weights = rng.integers(1, 4, N)
    return (rng.binomial(weights, 0.3 + effect) - rng.binomial(weights, 0.3)) / weights, {"weights": weights * 1.0}


def rare_weighted(rng):
    """Shares of one to three constraints; one item in twenty loses all, others never change."""
    weights = rng.integers(1, 4, N) * 1.0
    return -(rng.random(N) < 0.05).astype(float), {"weights": weights}


def rare_clusters(rng):
    """Pairs of items, of which one pair in twenty loses both."""
    return -np.repeat(rng.random(N) < 0.05, 2).astype(float), {"clusters": np.repeat(np.arange(N), 2)}


KINDS = (binary, bounded, nats, clusters, weighted)
RARE = (rare_weighted, rare_clusters)


def looks(changes, rest, *, anytime=True, every=None):
    """The contrast after each block of units, whole clusters at a time."""
    ratio = rest.get("ratio", False)
    for units in every or (DOUBLING if ratio else EVERY):
        stop = np.searchsorted(rest["clusters"], units) if "clusters" in rest else units
        part = {name: values[:stop] for name, values in rest.items() if name != "ratio"}
        yield of(changes[:stop], **part, ratio=ratio, anytime=anytime)


class Runs:
    """Many draws of one kind, and the p-values at every look at each: (runs, looks), all runs at once."""

    def __init__(self, kind, seed: int, *effect: float, runs: int = RUNS) -> None:
        rng = np.random.default_rng(seed)
        self.drawn = [kind(rng, *effect) for _ in range(runs)]
        rest = self.drawn[0][1]
        self.looks = DOUBLING if "ratio" in rest else EVERY
        self._bets, self._reach = "ratio" not in rest and "clusters" not in rest, math.inf if "ratio" in rest else 1.0
        units = [self._by_unit(changes, **rest) for changes, rest in self.drawn]
        self._changes, self._weights = (np.stack(each) for each in zip(*units, strict=True))

    def _by_unit(self, changes, weights=None, clusters=None, **_):
        weights = np.ones(len(changes)) if weights is None else weights
        clusters = np.arange(len(changes)) if clusters is None else clusters
        return np.bincount(clusters, changes * weights), np.bincount(clusters, weights)

    def p(self, side: int, shift: float = 0.0):
        """One-sided: of 1 against "at most `shift`", of -1 against "at least `shift`"."""
        evidence = self._betting(side, shift) if self._bets else self._asymptotic(side, shift)
        return np.exp(np.minimum(0.0, -evidence))

    def p_two_sided(self):
        return np.minimum(1.0, 2 * np.minimum(self.p(1), self.p(-1)))

    def _betting(self, side: int, shift: float):
        """The stake of a unit is its share of the heaviest so far, so there is one account for each that may be it."""
        last = np.array(self.looks) - 1
        heaviest = np.maximum.accumulate(self._weights, axis=1)[:, last]
        gains = self._weights * ((side * self._changes / self._weights + 1) / (side * shift + 1) - 1)
        evidence = np.full(heaviest.shape, np.nan)
        for weight in np.unique(self._weights):
            with np.errstate(invalid="ignore", divide="ignore"):  # from where on a heavier one is staked too much
                capital = np.log1p(np.multiply.outer(BETS, gains / weight)).cumsum(-1)[..., last]
                mean = np.logaddexp.reduce(capital) - math.log(len(BETS))
            evidence = np.where(heaviest == weight, mean, evidence)
        return evidence

    def _asymptotic(self, side: int, shift: float):
        return np.stack([self._mixture(units, side, shift) for units in self.looks], axis=1)

    def _mixture(self, units: int, side: int, shift: float):
        changes, weights = self._changes[:, :units], self._weights[:, :units]
        if units < MIN_UNITS:
            return np.zeros(len(changes))
        total = weights.sum(1)
        difference = changes.sum(1) / total
        squares = ((changes - difference[:, None] * weights) ** 2).sum(1)
        error = np.sqrt(squares * units / (units - 1)) / total
        unseen = math.sqrt(2) * self._reach / units if math.isfinite(self._reach) else 0.0
        surplus = side * (difference - shift)
        z = surplus / np.sqrt(error**2 + unseen**2 + surplus**2 / units)
        steps = 1 + units * 8 / 128
        root = z * math.sqrt(1 - 1 / steps)
        return math.log(2) - math.log(steps) / 2 + root**2 / 2 + log_ndtr(root)


@pytest.mark.parametrize("kind", [*KINDS, *RARE])
def test_runs_are_judged_at_once_as_they_are_one_by_one(kind):
    """So what is simulated with `Runs` is true of the contrasts that a session sees."""
    runs = Runs(kind, 8, *(() if kind in RARE else (0.05,)), runs=3)
    for side, ask in ((1, "p_greater"), (-1, "p_less")):
        for shift in (0.0, -0.05, 0.1):
            one_by_one = [[getattr(c, ask)(shift) for c in looks(*draw)] for draw in runs.drawn]
            assert runs.p(side, shift) == pytest.approx(np.array(one_by_one), rel=1e-6)
    two_sided = [[c.p_two_sided() for c in looks(*draw)] for draw in runs.drawn]
    assert runs.p_two_sided() == pytest.approx(np.array(two_sided), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_peeking_raises_no_more_alarms_than_promised(kind):
    wrong = (Runs(kind, 1, 0.0).p_two_sided() <= 0.05).any(axis=1)
    assert wrong.mean() <= at_most(0.05)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("effect", [-0.1, 0.1])
def test_the_interval_holds_at_every_look_at_once(kind, effect):
    runs = Runs(kind, 2, effect)
    for side in (1, -1):
        assert (runs.p(side, effect) <= 0.025).any(axis=1).mean() <= at_most(0.025)


def test_a_test_for_one_look_would_raise_too_many():
    """The same items and looks, judged by McNemar's test at each: what the tests above would find."""
    runs = Runs(binary, 1, 0.0)
    changes, last = np.stack([changes for changes, _ in runs.drawn]), np.array(EVERY) - 1
    gained, lost = ((side * changes > 0).cumsum(1)[:, last] for side in (1, -1))
    p = np.minimum(1.0, 2 * binom.cdf(np.minimum(gained, lost), gained + lost, 0.5))
    assert list(p[0]) == pytest.approx([c.p_two_sided() for c in looks(*runs.drawn[0], anytime=False)])
    assert (p <= 0.05).any(axis=1).mean() > 2 * at_most(0.05)


@pytest.mark.parametrize(("units", "gained", "lost"), [(12, 0.2, 0.2), (12, 0.3, 0.1), (20, 0.05, 0.15)])
@pytest.mark.parametrize("side", [1, -1])
def test_bets_gain_nothing_on_average_where_the_hypothesis_is_true(units, gained, lost, side):
    """By enumeration: exactly 1 at the true difference, and less beyond it."""
    counts = [(a, b, units - a - b) for a in range(units + 1) for b in range(units + 1 - a)]
    chances = multinomial.pmf(counts, units, [gained, lost, 1 - gained - lost])
    found = [BettingEProcess(np.repeat([1.0, -1.0, 0.0], each), np.ones(units)) for each in counts]

    def expected(shift: float) -> float:
        evidence = [math.exp(each._log_evidence(side, shift)) for each in found]
        return float(chances @ evidence)

    assert expected(gained - lost) == pytest.approx(1)
    assert expected(gained - lost + side * 0.05) < 1


def test_the_asymptotic_bets_gain_nothing_on_average_either():
    """Steps of known variance: the mixture of likelihood ratios, integrated over z."""
    z = np.linspace(-30, 30, 60001)
    evidence = np.exp([log_mixture(each, 100) for each in z[::20]])
    density = np.exp(-(z[::20] ** 2) / 2) / math.sqrt(2 * math.pi)
    assert float(evidence @ density) * (z[20] - z[0]) == pytest.approx(1, rel=1e-3)
    closed = math.sqrt(2 * 9 / 8 * math.log(1 + math.sqrt(9) / 0.05))  # Waudby-Smith et al. (2024), one-sided
    assert boundary(0.025, 128) == pytest.approx(closed, abs=0.02)
    assert log_mixture(boundary(0.025, 128), 128) == pytest.approx(-math.log(0.025))


@pytest.mark.parametrize("kind", KINDS)
def test_answers_agree_with_each_other(kind):
    """P grows with the shift, the interval holds what is not rejected, and exchanged arms mirror everything."""
    changes, rest = kind(np.random.default_rng(3), 0.05)
    clustered = rest.get("clusters")
    c, mirrored = of(changes, **rest), of(-changes, **rest)
    shifts = np.linspace(-0.6, 0.6, 61)
    assert (np.diff([c.p_greater(shift) for shift in shifts]) >= 0).all()
    assert (np.diff([c.p_less(shift) for shift in shifts]) <= 0).all()
    low, high = c.interval()
    assert low <= c.difference <= high
    for shift in shifts:
        assert (low <= shift <= high) == (min(c.p_greater(shift), c.p_less(shift)) > 0.025), shift
    assert c.p_greater(low) == pytest.approx(0.025, rel=1e-6)
    assert mirrored.interval() == pytest.approx((-high, -low))
    assert mirrored.p_less(-0.02) == pytest.approx(c.p_greater(0.02))
    assert c.units == (len(np.unique(clustered)) if clustered is not None else N)


def test_the_order_of_the_items_changes_nothing():
    changes, _ = binary(np.random.default_rng(4), 0.05)
    assert of(changes).p_two_sided() == of(changes[::-1]).p_two_sided()


def test_changed_items_alone_test_no_difference_as_in_mcnemar():
    few, many = (of(np.repeat([1.0, -1.0, 0.0], [12, 2, same])) for same in (10, 500))
    assert few.p_two_sided() == pytest.approx(many.p_two_sided())
    assert few.p_greater() == pytest.approx(1 / float(np.mean((1 + BETS) ** 12 * (1 - BETS) ** 2)))


def test_items_that_never_change_show_slowly_that_nothing_does():
    """As the rule of three: a share s of changed items goes unseen with chance (1 - s) ** n, and bets lose by it."""
    kept = 1 / float(np.mean((1 + BETS * (1 / 0.9 - 1)) ** 64))
    assert of(np.zeros(64)).p_greater(-0.1) == pytest.approx(of(np.zeros(64)).p_less(0.1)) == pytest.approx(kept)
    assert 0.9**64 < kept < 0.05
    assert of(np.zeros(64)).p_two_sided() == 1
    clustered = of(np.zeros(800), clusters=np.arange(800) // 4)
    assert clustered.p_less(0.1) < 0.001 < 0.05 < clustered.p_less(0.01)
    low, high = clustered.interval()
    assert low == pytest.approx(-high)
    assert high > 3 / 200


@pytest.mark.parametrize("kind", RARE)
def test_rare_changes_are_not_taken_for_none(kind):
    """A loss as large as the margin, of which few items show anything: it is rarely called smaller, at any look."""
    assert (Runs(kind, 7).p(1, -0.05) <= 0.05).any(axis=1).mean() <= at_most(0.05)


def test_bets_on_weighted_items_gain_nothing_on_average():
    """One item, of weight 1 or 3 by even chance: its loss depends on its weight, and so does the stake."""
    outcomes = [(1.0, 0.5, 0.2), (1.0, -0.5, 0.3), (3.0, -1.0, 0.1), (3.0, 0.0, 0.4)]
    mean = sum(w * d * chance for w, d, chance in outcomes) / sum(w * chance for w, _, chance in outcomes)
    for side in (1, -1):
        evidence = [
            math.exp(BettingEProcess(np.array([d]), np.array([w / 3]))._log_evidence(side, mean))
            for w, d, _ in outcomes
        ]
        assert sum(e * chance for e, (_, _, chance) in zip(evidence, outcomes, strict=True)) == pytest.approx(1)
    heavier = contrast([0.0] * 9, [1.0] * 9, [1.0] * 9, anytime=True, heaviest=3, seed=0)
    assert heavier.p_less() > of(-np.ones(9)).p_less()


def test_few_units_of_unknown_variance_decide_nothing():
    for few in (of(np.full(MIN_UNITS - 1, 2.0), ratio=True), of(np.full(1, 2.0), ratio=True)):
        assert (few.p_two_sided(), few.interval()) == (1.0, (-math.inf, math.inf))
    assert of(np.ones(60), clusters=np.arange(60) // 2).interval() == (-1.0, 1.0)
    assert of(np.full(MIN_UNITS, 2.0), ratio=True).p_two_sided() < 0.01
    assert isinstance(of(np.zeros(9), ratio=True), AsymptoticSequence)


@pytest.mark.parametrize("all_of", [-1.0, 1.0])
def test_differences_as_large_as_can_be(all_of):
    c = of(np.full(64, all_of))
    low, high = c.interval()
    assert all_of in (low, high)
    assert low < 0.6 * all_of < high or low < all_of * 0.95 <= high
    assert c.p_two_sided() < 1e-10
    assert (c.p_greater(-1.0), c.p_less(1.0)) == ((1.0, 0.0) if all_of < 0 else (0.0, 1.0))


def test_a_large_effect_is_seen_early_and_a_smaller_one_later():
    """Mean items at a session's looks until p <= 0.05: of 512, where half, a quarter or a tenth more are lost."""
    rng, schedule = np.random.default_rng(5), (64, 128, 256, 512)
    means = []
    for effect in (-0.5, -0.25, -0.1):
        draws = [looks(*binary(rng, effect, 0.2 - effect), every=schedule) for _ in range(100)]
        first = [next((c.units for c in draw if c.p_two_sided() <= 0.05), N) for draw in draws]
        means.append(float(np.mean(first)))
    assert means[0] < 72
    assert means[0] < means[1] < 160 < means[2] < N


@pytest.mark.parametrize(("effect", "changed"), [(-0.1, 0.3), (-0.05, 0.1)])
def test_the_units_needed_give_about_the_power_promised(effect, changed):
    rng = np.random.default_rng(6)
    shares = [(changed + effect) / 2, (changed - effect) / 2, 1 - changed]
    pilot = of(np.repeat([1.0, -1.0, 0.0], np.round(np.multiply(1000, shares)).astype(int)))
    needed = items_needed(pilot, -effect, 0.025)
    seen = sum(of(rng.choice([1.0, -1.0, 0.0], needed, p=shares)).p_less() <= 0.025 for _ in range(RUNS))
    assert 0.7 <= seen / RUNS <= 0.9
