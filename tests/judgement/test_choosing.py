"""Choices among prunings: the order, the certificate, and how often it fails over simulated models of known losses."""

from decimal import Decimal

import numpy as np
import pytest

from glu_prune.judgement.choosing import FINALISTS, Candidate, certified, in_order
from perf.choosing import RATIOS, Simulated, case, rates, simulated
from tests.helpers.examples import scaled


def test_the_order_goes_from_the_safest_to_the_cheapest_of_the_front():
    costs = {"a": (0.001, 9), "b": (0.002, 9), "c": (0.01, 7), "d": (0.02, 8), "e": (0.3, 5), "f": (0.6, 1)}
    found = in_order(Candidate(name, p, cost) for name, (p, cost) in costs.items())
    assert [each.arm for each in found] == ["a", "c", "e"]  # b and d are beaten, f is hopeless


def test_of_many_the_ends_and_what_lies_between_are_tested():
    every = [Candidate(number, number / 1000, 100 - number) for number in range(100)]
    found = [each.arm for each in in_order(every)]
    assert len(found) == FINALISTS
    assert (found[0], found[-1]) == (0, 99)
    assert max(np.diff(found)) - min(np.diff(found)) <= 1


def test_nothing_is_tested_after_the_first_that_fails():
    tested = []

    def p(number: int) -> float:
        tested.append(number)
        return {1: 0.01, 2: 0.05, 3: 0.051}.get(number, 0.0)

    assert certified([1, 2, 3, 4], p, 0.05) == ([1, 2], 3)
    assert tested == [1, 2, 3]
    assert certified([], p, 0.05) == ([], None)


class Watched(Simulated):
    """Notes which places of the items each arm is asked."""

    def scores(self, case, needed):
        for found in super().scores(case, needed):
            asked = ((arm, needed.part.start, found.scores.items) for arm in needed.arms)
            self.asked = [*getattr(self, "asked", []), *asked]
            yield found


def test_what_finds_the_order_certifies_nothing():
    source = Watched(np.random.default_rng(0), {skill: dict.fromkeys(RATIOS, 0.0) for skill in ("first", "second")})
    (row,) = case().judge(source).tables.choices
    asked = {(arm.label, start) for arm, start, _ in source.asked}
    tested = [each.arm for each in row.candidates if each.certification]
    assert tested
    assert {arm for arm, start in asked if start == 0} == {"dense", *(each.arm for each in row.candidates)}
    assert {arm for arm, start in asked if start == 1} == {"dense", *tested}
    for each in row.candidates:
        if each.certification:
            assert [half.delta for half in each.search] != [half.delta for half in each.certification]


def test_what_loses_much_is_asked_few_items():
    """And what does not lose is asked all of them, whatever the first few say."""
    losses = {ratio: 0.0 if ratio < Decimal("0.3") else 0.5 for ratio in RATIOS}
    source = Watched(np.random.default_rng(0), dict.fromkeys(("first", "second"), losses))
    (row,) = case().judge(source).tables.choices
    *kept, last = row.candidates
    assert (last.target, last.state) == ("ratio 0.3", "lost too much")
    assert {look.items for look in last.search} == {64}
    assert {look.items for each in kept for look in each.search} == {300}
    assert {count for arm, _, count in source.asked if arm.ratio == Decimal("0.3")} == {64}


@pytest.fixture(scope="module")
def simulations():
    return simulated(scaled(1000))


def test_the_certificate_fails_in_at_most_one_of_twenty(simulations):
    fails, *_ = rates(simulations)
    assert fails <= 0.05


def test_it_does_not_where_losses_end_at_the_margin():
    """Where a test of one candidate errs as often as its level allows."""
    found = simulated(scaled(1000), at_the_margin=True)
    fails, *_ = rates(found)
    assert fails <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(found))


def test_choosing_by_the_best_score_on_all_items_fails_far_more_often(simulations):
    fails, naive, *_ = rates(simulations)
    assert naive > 3 * max(fails, 0.05)


def test_what_is_chosen_is_near_the_best_that_there_is(simulations):
    """In steps of the grid of ratios, over models in which some ratio is allowed; docs/choose.md states it."""
    *_, median, mean = rates(simulations)
    assert median <= 2
    assert mean <= 4
