"""What a session prints: claims as lines that a window holds."""

import re
from decimal import Decimal

import pytest
from rich.cells import cell_len
from rich.text import Text

from glu_prune.report import lines
from glu_prune.report.formats.terminal import Shape, blocks, lines_of, printed
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import Report
from tests.helpers.judged import published

SMALL = "meta-llama/Llama-3.2-1B"


def shown(report: Report, monkeypatch, width: int = 100, **shape: object) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(width))
    return [line.plain for line in lines_of(report, Shape(**shape))]


def one(**changes: object) -> CapabilityResult:
    row = next(row for row in published().scores if row.model == SMALL)
    return row.model_copy(update=changes)


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_line_is_wider_than_the_window(monkeypatch, width, long):
    found = shown(published(), monkeypatch, width, long=long)
    assert len(found) > 250
    assert max(map(cell_len, found)) <= width


def test_names_wider_than_the_window_go_on_in_the_next_line(monkeypatch):
    row = one(model="m" * 150, capability="漢字" * 40, note="n" * 150)
    found = shown(Report(scores=(row,)), monkeypatch, 80)
    assert max(map(cell_len, found)) <= 80
    assert "".join(found).replace(" ", "").count("m") >= 150


def test_a_claim_is_a_line_with_its_numbers_and_remarks_below(monkeypatch):
    row = one(outcome="artefact", declared="confirmed", note="under the floor", controls={"random": 0.5})
    heading, names, line, note, *_ = shown(Report(scores=(row,)), monkeypatch, 120)
    assert heading.startswith(f"── {SMALL} at 0.1: 1 artefact, 1 NOT AS DECLARED ─")
    assert names.split() == ["verdict", "claim", "dense->pruned", "change", "(95", "%)", "p", "floor", "random"]
    assert line.split() == [
        "≈", "artefact", "↑", "instruction_following", "0.103", "->", "0.142", "+0.039", "(-0.000,", "+0.078)", "0.313",
        "0.161", "0.500",
    ]  # fmt: skip
    assert note == "    FAILED: declared confirmed; under the floor"


def test_the_note_of_a_verdict_as_declared_is_a_letter(monkeypatch):
    for outcome in ("refuted", "artefact", "inconclusive"):
        found = shown(
            Report(scores=(one(outcome=outcome, declared=outcome, note="under the floor"),)), monkeypatch, 120
        )
        assert found[2].startswith(f"{lines.SIGNS[outcome]}a {outcome}")
        assert found[3] == "a: under the floor"
        assert found[4].startswith("verdicts as declared")


def test_what_does_not_fit_beside_is_said_below(monkeypatch):
    found = shown(Report(scores=(one(controls={"random": 0.5}),)), monkeypatch, 80)
    assert found[1].split() == ["verdict", "claim", "dense->pruned", "change", "(95", "%)"]
    assert found[3] == "    p 0.313; floor 0.161; random 0.500"


def test_first_comes_what_failed_then_what_surprises_then_what_held(monkeypatch):
    kinds = [("confirmed", "confirmed"), ("inconclusive", "inconclusive"), ("artefact", "artefact"),
             ("inconclusive", "confirmed"), ("confirmed", "refuted")]  # fmt: skip
    rows = tuple(
        one(outcome=outcome, declared=declared, capability=f"{outcome}_{declared}") for outcome, declared in kinds
    )
    found = shown(Report(scores=rows), monkeypatch, 120)
    named = [line.split()[3] for line in found if line.startswith(tuple(lines.SIGNS.values()))]
    assert named[:5] == [
        "confirmed_refuted", "inconclusive_confirmed", "artefact_artefact", "confirmed_confirmed",
        "inconclusive_inconclusive",
    ]  # fmt: skip
    assert "    FAILED: declared refuted; under the floor" in found
    assert found.count("    under the floor") == 1, "of what is as declared, a letter"
    assert found[0].startswith(f"── {SMALL} at 0.1: 2 confirmed, 2 inconclusive, 1 artefact, 1 NOT AS DECLARED ─")


def test_columns_and_order_can_be_chosen(monkeypatch):
    rows = tuple(one(items=items, controls={"l2": 0.25}) for items in (20, 300, 5))
    found = shown(Report(scores=rows), monkeypatch, columns=("claim", "items", "controls"), sort="-items")
    assert [line.split() for line in found[1:5]] == [
        ["claim", "items", "l2"], *(["↑", "instruction_following", items, "0.250"] for items in ("300", "20", "5")),
    ]  # fmt: skip


def test_every_column_that_can_be_named_can_be_shown_and_sorted_by(monkeypatch):
    for name in lines.NAMES:
        sort = "" if name == lines.CONTROLS else name
        assert len(shown(published(), monkeypatch, columns=("verdict", name), sort=sort)) > 200


def test_what_lines_share_and_the_legend_take_few_lines(monkeypatch):
    rows = tuple(one(outcome="inconclusive", declared="inconclusive", note=note) for note in ("thin", "thin", "bare"))
    monkeypatch.setenv("COLUMNS", "100")
    block, last = blocks(Report(scores=rows), Shape())
    assert [line.plain.split()[0] for line in block.lines] == ["verdict", "?a", "?a", "?b"]
    assert last.text.startswith("a: thin; b: bare\nverdicts as declared")
    assert len(last.lines) == 3


def test_headings_stand_once_above_the_same_columns(monkeypatch):
    rows = tuple(row for row in published().scores if row.model == SMALL)
    found = shown(Report(scores=rows), monkeypatch)
    assert sum(line.startswith("verdict ") for line in found) == 1
    assert sum(line.startswith("── ") for line in found) == 6


def test_costs_stand_below_capabilities_and_widen_none_of_their_columns(monkeypatch):
    cost = published().costs[0].model_copy(update={"ratio": one().ratio, "capability": "j" * 40, "model": SMALL})
    found = shown(Report(scores=(one(controls={"random": 0.5}),), costs=(cost,)), monkeypatch)
    assert found[1].split()[-1] == "random"
    assert sum("j" * 40 in line for line in found) == 1


def test_with_more_each_claim_has_its_sentence_and_each_table_follows(monkeypatch):
    said = " ".join(" ".join(shown(published(), monkeypatch, long=True)).split())
    row = published().scores[0]
    assert row.sentence in said
    assert "(claimed because:" in said
    assert f"{SMALL}: energy per token, recomputed from published energies" in said
    assert "recomputed from" not in " ".join(shown(published(), monkeypatch))


def test_findings_are_bullets_each_once_and_what_spoils_nothing_is_named(monkeypatch):
    found = shown(published(), monkeypatch)
    bullets = [line for line in found if line.startswith("• ")]
    assert [line.split()[1] for line in bullets[:-1]] == ["energy_unit:", "first_token_is_last", "unequal_lengths"]
    assert re.match(r"• unequal_lengths \(\d+\): ", bullets[2])
    assert bullets[-1].startswith("• spoil no verdict: at_chance (")


@pytest.mark.parametrize(
    ("encoding", "sign"), [("utf-8", "✗ refuted"), ("ascii", "x refuted"), ("latin-1", "x refuted")]
)
def test_a_terminal_is_given_what_its_encoding_has(monkeypatch, encoding, sign):
    monkeypatch.setenv("COLUMNS", "100")
    row = one(outcome="refuted", declared="refuted", note="")
    found = [printed(line, colour=False, encoding=encoding) for line in lines_of(Report(scores=(row,)), Shape())]
    assert any(line.startswith(sign) for line in found)
    for line in found:
        assert line.encode(encoding).decode(encoding) == line


def test_colours_come_only_where_they_are_wanted(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    (_, _, line, *_) = lines_of(Report(scores=(one(outcome="refuted", declared="refuted", note=""),)), Shape())
    assert printed(line, colour=True, encoding="utf-8").startswith("\x1b[31m✗ refuted")
    assert "\x1b" not in printed(line, colour=False, encoding="utf-8")


def test_no_line_is_a_command_of_ci_wherever_it_was_broken(monkeypatch):
    row = one(note=f"{'a' * 96} ::error::x {'b' * 96}::error::y")
    for line in shown(Report(scores=(row,)), monkeypatch):
        assert not printed(Text(line), colour=False, encoding="utf-8").lstrip().startswith("::")


def test_all_arms_have_the_same_columns(monkeypatch):
    wide = one(ratio=Decimal("0.2"), capability="a_capability_with_a_rather_long_name", low=None, high=None)
    found = shown(Report(scores=(one(), wide)), monkeypatch, 100)
    heading, *claims = [line for line in found if line.startswith("verdict ") or " -> " in line]
    assert len(claims) == 2
    start = heading.index("dense->pruned")
    assert all(line[start - 1] == " " and line[start].isdigit() for line in claims)


def test_verdicts_that_pass_without_a_confirmation_are_counted(monkeypatch):
    known = [one(outcome=each, declared=each) for each in ("confirmed", "artefact", "artefact")]
    said = " ".join(shown(Report(scores=tuple(known)), monkeypatch))
    assert "verdicts as declared unless said (2 artefact: these pass)" in said
    assert "these pass" not in " ".join(shown(Report(scores=tuple(known[:1])), monkeypatch))
