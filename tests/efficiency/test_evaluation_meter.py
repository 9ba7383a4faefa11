"""What several phases of work cost together."""

import pytest

from glu_prune.efficiency.evaluation_meter import EvaluationMeter
from glu_prune.efficiency.meter import NoMeter, ReplayMeter
from tests.helpers.recordings import raw

FAILS = raw(flaws=("the energy counter of GPU 0 went backwards",))


def test_windows_add_up():
    whole, both = (EvaluationMeter(ReplayMeter([raw()] * count)) for count in (1, 2))
    for bill, count in ((whole, 1), (both, 2)):
        for _ in range(count):
            with bill.phase():
                pass
    assert both.total.seconds == 2 * whole.total.seconds > 0
    assert {name: each.joules for name, each in both.total.readings.items()} == {
        name: 2 * each.joules for name, each in whole.total.readings.items()
    }
    assert (both.total.note, set(both.total.readings)) == ("", {"cpu", "ram"})


@pytest.mark.parametrize(("windows", "why"), [([raw(), FAILS], "went backwards"), ([raw()], "ends after 1 windows")])
def test_what_one_stretch_lacks_the_sum_lacks_and_says_why(windows, why):
    bill, done = EvaluationMeter(ReplayMeter(windows)), []
    for number in range(2):
        with bill.phase():
            done.append(number)
    assert done == [0, 1]
    assert bill.total.readings == {}
    assert bill.total.note.startswith("not measured: ")
    assert why in bill.total.note
    assert bill.total.seconds > raw().seconds


@pytest.mark.parametrize("meter", [NoMeter("none"), ReplayMeter([])])
def test_other_processes_are_looked_at_where_this_one_does_the_work(meter):
    """With a meter, and without; a process that works for this one is not among the others."""
    counts = [(0.0, 0.0, 0.0), (4.0, 1.0, 2.0)]
    shares = []
    for here in (True, False):
        bill, times = EvaluationMeter(meter, here=here), iter(counts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("glu_prune.efficiency.processors._counted", lambda times=times: next(times))
            with bill.phase():
                pass
        shares.append(bill.total.other_load)
    assert shares == [0.25, None]


def test_work_that_fails_is_on_no_bill():
    bill = EvaluationMeter(NoMeter("none"))
    with pytest.raises(ZeroDivisionError), bill.phase():
        raise ZeroDivisionError
    assert (bill.total.seconds, bill.total.readings, bill.total.note) == (0.0, {}, "")
