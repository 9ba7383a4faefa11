"""What a run will take, before it starts."""

from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.efficiency.meter import NoMeter, Reading
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors.local import LocalExecutor
from glu_prune.experiment.executors.probing import Prober
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate
from glu_prune.report.forecast import duration, text
from glu_prune.sources.forecast import PROBED, forecast
from glu_prune.units import Joules

pytest_plugins = ["pytester"]
CHOICE = Cell(locate("tiny-base"), DENSE, "tiny_recall_mc", None, (), Settings(), Subset(0, 60))
TEXTS = replace(CHOICE, task="tiny_recall")
PRUNED = Arm("ppm", Decimal("0.5"))


def engine(folder: Path) -> Engine:
    return Engine(Store(folder), LocalExecutor(folder, NoMeter("in a test"), print), print)


def prober(seconds: float) -> Prober:
    return Prober(seconds, lambda _: None)


def test_tokens_of_choices_are_those_of_the_run_and_nothing_is_kept(tmp_path):
    there = engine(tmp_path / "store")
    (work,) = forecast(there, [CHOICE, replace(CHOICE, arm=PRUNED)], prober(0.1)).tasks
    assert (work.arms, work.stored, work.how) == (2, 0, PROBED)
    assert not (tmp_path / "store").exists()
    assert work.tokens == there.record(CHOICE).positions
    (work,) = forecast(there, [CHOICE, replace(CHOICE, arm=PRUNED)], None).tasks
    assert (work.arms, work.stored) == (1, 1)


def test_texts_that_end_are_counted_and_others_taken_to_be_as_long(tmp_path):
    there = engine(tmp_path / "store")
    (whole,) = forecast(there, [TEXTS], prober(60)).tasks
    (part,) = forecast(there, [TEXTS], prober(0.01)).tasks
    assert whole.tokens is not None
    assert part.tokens is not None
    assert whole.tokens / 2 < part.tokens < 40 * whole.tokens
    record = there.record(TEXTS)
    written = sum(record.lengths)
    assert written < whole.tokens, "prompts are read, too"


def test_without_a_probe_or_a_run_the_time_is_unknown(tmp_path):
    floors = FloorCell(CHOICE.task, None, None, None)
    found = forecast(engine(tmp_path), [CHOICE, floors], None)
    assert (found.tasks[0].seconds, found.floors, found.loading) == (None, 1, 0.0)
    assert found.gigabytes == pytest.approx(0.0, abs=0.05)
    said = " ".join(text(found).split())
    assert "1 cells are to be run, 0 are in the store" in said
    assert "of 1 tasks that is unknown (--glu-probe 10 tries them)" in said
    assert "Not in it: 1 floors; judging." in said


class Metered(NoMeter):
    """Reads 3 J from a GPU's counter, and assumes 100 J for memory."""

    @contextmanager
    def window(self):
        with super().window() as window:
            yield window
        window.readings = {"gpu": Reading(Joules(3.0), "nvml"), "ram": Reading(Joules(100.0), "modelled")}


@pytest.mark.parametrize(("meter", "joules"), [(Metered("in a test"), 6.0), (NoMeter("in a test"), None)])
def test_joules_are_those_that_meters_read_here(tmp_path, meter, joules):
    there = Engine(Store(tmp_path), LocalExecutor(tmp_path, meter, print), print)
    there.record(CHOICE)
    left = [replace(CHOICE, arm=each) for each in (PRUNED, replace(PRUNED, ratio=Decimal("0.2")))]
    found = forecast(there, [CHOICE, *left], None)
    assert found.tasks[0].joules == joules
    assert ("6 J by this machine's meters, for 1 of 1 tasks." in text(found)) == (joules is not None)


@pytest.mark.parametrize(("seconds", "said"), [(9.6, "10 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_said_in_the_unit_that_suits(seconds, said):
    assert duration(seconds) == said


def test_a_session_says_it_and_runs_nothing(pytester):
    pytester.makefile(
        ".yaml", claims="model: tiny-base\nratios: [0.5]\nexpect:\n"
        "  - {capability: factual_knowledge, direction: down, why: w}\n"
    )  # fmt: skip
    pytester.makepyfile(
        test_claims="""
        def test_direction(glu_case, glu_check):
            raise AssertionError
        """
    )
    asked = ("--glu-plan", "--glu-expectations=claims.yaml", "--glu-limit=40", "--glu-offline")
    result = pytester.runpytest(*asked, "--glu-probe=0.2")
    result.stdout.fnmatch_lines(["tiny-base *tiny_recall_mc *2 of 2 *probed*", "2 cells are to be run, 0 are in *"])
    assert not (pytester.path / ".glu-prune").exists()
    refused = pytester.runpytest("--glu-probe=1")
    refused.stderr.fnmatch_lines(["ERROR: --glu-probe tells how long a run takes; add --glu-plan"])
