"""Figures and tables of arms that have names, and of choices."""

import pytest

from glu_prune.report.choices import text
from glu_prune.report.formats.terminal import Shape, blocks
from glu_prune.report.matrix import matrices
from glu_prune.report.page.figure import file_name
from glu_prune.report.page.figures import figures
from glu_prune.results.choices import CandidateResult, ChoiceResult, KeptCapability
from glu_prune.results.report import Report
from tests.helpers.judged import published

ABOUT = {
    "declared": "confirmed",
    "outcome": "confirmed",
    "sentence": "s",
    "reasons": ("r",),
    "why": "w",
    "file": "f",
    "where": "f:1",
    "in_file": 0,
}


def named() -> Report:
    """Three arms of one model: a ratio, a name, and a name against the first name."""
    first = published().scores[0]
    rows = (
        first.model_copy(update={"ratio": first.ratio, "named": ""}),
        first.model_copy(update={"ratio": None, "named": "healed"}),
        first.model_copy(update={"ratio": None, "named": "int8", "against": "healed"}),
    )
    return Report(scores=rows)


def test_a_named_arm_has_a_figure_beside_those_by_ratio():
    first, drawn = named().scores[0], {each.name: each for each in figures(named())}
    about = f"{first.capability}-{first.model}"
    dose, arms, against = (
        drawn[file_name(*each)] for each in (("dose", first.capability), ("arms", about), ("arms", f"{about}-healed"))
    )
    assert {row["model"] for row in dose.rows if row["kind"] == "model"} == {first.model}
    assert [row["arm"] for row in arms.rows if row["kind"] == "arm"] == ["dense", "healed"]
    compared = next(row for row in against.rows if row["kind"] == "arm")
    assert (compared["arm"], compared["verdict"]) == ("healed", "compared with")
    for figure in drawn.values():
        assert figure.draw(figure.rows).to_dict()


def test_names_follow_ratios_in_the_matrix_and_on_the_screen():
    first = named().scores[0]
    (matrix,) = matrices(named())
    assert matrix.arms == (first.at, "healed", "int8")
    assert any(claim.endswith("vs healed") for claim, _ in matrix.rows)
    headings = [block.heading for block in blocks(named(), Shape()) if block.heading]
    assert [" healed:" in each for each in headings] == [False, True, False]


def kept(delta: float, p: float, *, better: str = "higher") -> KeptCapability:
    return KeptCapability(
        capability="reading", metric="acc", better=better, margin=0.1, items=100, dense=0.8, pruned=0.8 + delta,
        delta=delta, low=delta - 0.05, high=delta + 0.05, p=p,
    )  # fmt: skip


def choice(**changes: object) -> ChoiceResult:
    def candidate(arm: str, state: str, cost: float, search: float, second: float | None = None) -> CandidateResult:
        certification = () if second is None else (kept(second, 0.01),)
        return CandidateResult(
            arm=arm, criterion="ppm", target="ratio 0.1, multiple of 16", state=state, cost=cost, width=8, parameters=1,
            bytes=int(cost), search=(kept(search, 0.02),), certification=certification,
        )  # fmt: skip

    candidates = (
        candidate("ppm, ratio 0.1, multiple of 16", "chosen", 80, -0.01, -0.02),
        candidate("l2, ratio 0.1, multiple of 16", "beaten", 90, -0.03),
    )
    fields = {"minimise": "bytes", "unit": "B", "confidence": 0.95, "dense_cost": 100.0, "chosen": candidates[0].arm, "candidates": candidates, "needed": None}  # fmt: skip
    return ChoiceResult.model_validate({"model": "m", **ABOUT, **fields, **changes})


def test_a_choice_has_a_figure_for_each_capability_that_is_kept():
    (figure,) = figures(Report(choices=(choice(),)))
    assert [(row["state"], row["cost"], row["change"], row["tip"].rpartition(" · ")[2]) for row in figure.rows] == [
        ("chosen", 80.0, -0.02, "certification half"),
        ("beaten", 90.0, -0.03, "search half"),
    ]
    assert "ppm, ratio 0.1, multiple of 16 is chosen at 0.95" in figure.caption
    assert figure.draw(figure.rows).to_dict()


def test_a_loss_is_below_zero_where_less_is_better():
    worse = choice().candidates[1].model_copy(update={"search": (kept(0.3, 0.9, better="lower"),)})
    (figure,) = figures(Report(choices=(choice(candidates=(worse,), chosen=""),)))
    assert figure.rows[0]["change"] == -0.3
    assert "Nothing is chosen" in figure.caption


def test_a_choice_is_told_in_full(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    said = text(choice())
    assert "m: ppm, ratio 0.1, multiple of 16, -20.0 % bytes" in said
    assert "certified: reading (acc) 0.800 -> 0.780 (-0.020" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize("outcome", ["confirmed", "inconclusive", "refuted"])
def test_a_choice_is_a_line_of_the_screen(outcome, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    report = Report(choices=(choice(outcome=outcome),))
    (block,) = (block for block in blocks(report, Shape()) if block.heading)
    assert block.heading.startswith(f"m, chosen: 1 {outcome}")
    assert ("FAILED: declared confirmed" in block.text) == (outcome == "refuted")
