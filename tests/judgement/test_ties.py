"""Where neurons tie at the cut, a verdict holds only if it holds for another draw of them, too."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter
from glu_prune.experiment.cell import DENSE, Arm, Settings
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.judgement.case import Requirement
from glu_prune.judgement.expectation import DirectionCase, read
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.sources import Evaluation
from glu_prune.models.source import load_model, locate
from glu_prune.pruning.blocks import find_blocks
from glu_prune.results.report import CaseResult
from glu_prune.sources.runs import Extent, RunSource
from tests.helpers.verdicts import HALF, case, recorded, scored, share

EXPECTATIONS = """\
model: MODEL
ratios: [0.5]
expect:
  - capability: story_modelling
    direction: down
    why: half of the neurons are gone
"""
PRUNED, AGAIN = Arm("ppm", HALF), Arm("ppm", HALF, 1)
RANDOM = tuple(Arm("random", HALF, seed) for seed in range(6))


def with_ties(record: Record, ties: int | None) -> Record:
    return record.model_copy(update={"size": record.size.model_copy(update={"ties": ties})})


class Records:
    """Records that are there; it tells which were asked for."""

    def __init__(self, records: Mapping[Arm, Record]) -> None:
        self._records = records
        self.asked: set[Arm] = set()

    def scores(self, case: DirectionCase, needed: Requirement) -> Iterator[Evaluation]:
        self.asked |= {*needed.arms}
        records = {arm: self._records[arm] for arm in needed.arms}
        floors = FloorRecord(
            key="k", task="t", versions={}, created="now", items=records[DENSE].items,
            nulls={"empty": {"acc": scored(share(2))}},
        )  # fmt: skip
        yield Evaluation(PairedScores(case.capability, records, floors), records)

    def ratios(self, case: DirectionCase, needed: Requirement) -> frozenset:
        return frozenset()

    def declared(self, case: DirectionCase) -> None:
        return None


def judged(
    claim: DirectionCase, pruned: list[float], again: list[float], ties: int | None = 7
) -> tuple[CaseResult, set[Arm]]:
    """The result, and the arms that it took."""
    given = {DENSE: recorded(share(80)), AGAIN: with_ties(recorded(again), ties)}
    given |= {PRUNED: with_ties(recorded(pruned), ties)} | {arm: recorded(share(60)) for arm in RANDOM}
    source = Records(given)
    return claim.judge(source), source.asked


def test_a_verdict_that_another_draw_reaches_stands():
    result, asked = judged(case("down"), share(30), share(34))
    (row,) = result.tables.scores
    assert (row.outcome, row.note, row.controls["ties redrawn"]) == ("confirmed", "", 0.34)
    assert "7 removed neurons score as some that stay; another draw gives 0.340, confirmed, too" in row.sentence
    assert asked == {DENSE, PRUNED, AGAIN, RANDOM[0]}, "one more model, and no other control"


@pytest.mark.parametrize(
    ("direction", "pruned", "again", "was", "other"),
    [
        ("down", share(30), share(79), "confirmed", "inconclusive"),
        ("up", share(30), share(100), "refuted", "confirmed"),
        ("down", share(30), share(100), "confirmed", "refuted"),
    ],
)
def test_a_verdict_that_another_draw_does_not_reach_is_inconclusive(direction, pruned, again, was, other):
    result, _ = judged(case(direction), pruned, again)
    (row,) = result.tables.scores
    assert (result.outcome, row.outcome, row.note) == ("inconclusive", "inconclusive", "rests on ties")
    assert result.sentence.startswith(f"skill {direction}: inconclusive. acc 0.800 -> 0.300")
    assert f", {other}, where this one is {was}: the verdict would rest on the draw" in result.sentence
    assert f"p = {row.p:.2g}" in result.sentence, "the numbers are those of the arm itself"


def test_what_is_specific_must_be_so_for_another_draw():
    claim = case("down", specific=True, draws=6)
    assert judged(claim, share(20), share(20))[0].outcome == "confirmed"
    result, asked = judged(claim, share(20), share(61))
    assert result.outcome == "inconclusive"
    assert asked == {DENSE, PRUNED, AGAIN, *RANDOM}, "the same draws of the control stand beside both"


@pytest.mark.parametrize("ties", [0, None])
def test_without_ties_nothing_more_is_run(ties):
    result, asked = judged(case("down"), share(30), share(79), ties)
    assert (result.outcome, AGAIN in asked) == ("confirmed", False)
    assert "draw" not in result.sentence


def test_what_decides_nothing_takes_no_other_draw():
    assert AGAIN not in judged(case("down"), share(79), share(30))[1]


def test_a_file_can_do_without_another_draw_and_the_verdict_says_so():
    claim = case("down")
    claim = replace(claim, experiment=claim.experiment.model_copy(update={"redraw_ties": False}))
    result, asked = judged(claim, share(30), share(79))
    assert (result.outcome, AGAIN in asked) == ("confirmed", False)
    (row,) = result.tables.scores
    assert row.note == "ties not redrawn"
    assert row.sentence.endswith("another draw was not tried, as `redraw_ties: false` says")


def test_draws_of_all_neurons_are_no_draws_among_ties():
    claim = case("down")
    claim = replace(claim, experiment=claim.experiment.model_copy(update={"criterion": "random", "controls": ()}))
    source = Records({DENSE: recorded(share(80)), RANDOM[0]: with_ties(recorded(share(30)), 3)})
    assert claim.judge(source).outcome == "confirmed"
    assert source.asked == {DENSE, RANDOM[0]}


@pytest.fixture(scope="module")
def coarse(tmp_path_factory) -> Path:
    """The embedded model with gates and ups rounded to a few values, so that many neurons have one score."""
    source = locate("tiny-base")
    model, folder = load_model(source, "float32", "cpu"), tmp_path_factory.mktemp("models") / "coarse"
    with torch.no_grad():
        for block in find_blocks(model):
            for weights in (block.weights.gate, block.weights.up):
                step = weights.abs().amax() / 3
                weights.copy_((weights / step).round() * step)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source.folder / name).read_bytes())
    return folder


def test_a_model_of_few_values_is_drawn_twice(coarse, tmp_path):
    file = tmp_path / "coarse.yaml"
    file.write_text(EXPECTATIONS.replace("MODEL", str(coarse)))
    (claim,) = read(file)
    engine = local_engine(Store(tmp_path / "store"), NoMeter("not here"), lambda _: None)
    source = RunSource(engine, Settings(), Effort(), Extent(limit=24))
    (row,) = claim.judge(source).tables.scores
    assert "removed neurons score as some that stay; another draw gives" in row.sentence
    assert row.controls["ties redrawn"] not in (row.pruned, row.dense)
    assert row.outcome == "confirmed"
