"""`glu-prune power` and `--glu-plan` as users meet them: expectation files, a store of made-up records, and no model."""

import re
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import Record, ScoreRecord
from glu_prune.experiment.store import Store
from glu_prune.judgement.expectation import read
from glu_prune.report.power import _number, _Together
from glu_prune.results.power import PlannedClaim
from glu_prune.sources.pilots import Pilots
from tests.helpers.records import record
from tests.helpers.verdicts import share

FILE = """\
model: tiny-base
ratios: [0.2, 0.5]
controls: [random]
control_seeds: 3
expect:
  - {capability: factual_knowledge, direction: down, why: because}
  - {capability: reading, direction: preserved, margin: 0.02, ratios: [0.2], why: because}
  - {capability: story_modelling, direction: down, ratios: [0.5], why: because}
  - {capability: arithmetic, direction: down, specific: true, ratios: [0.5], why: because}
  - {trend: factual_knowledge, relation: falling, why: because}
  - {efficiency: peak_memory, direction: down, why: because}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "160")  # each row is one line
    path = tmp_path / "claims.yaml"
    path.write_text(FILE)
    return path


def put(folder: Path, arm: str, right: int, *, items: int = 480, key: int = 1, **settings: object) -> None:
    """A record of `tiny_recall_mc`, which has 480 items."""
    values = tuple(share(right, items))
    stored = record(
        key=f"{key:064x}",
        arm=arm,
        task="tiny_recall_mc",
        items=tuple(map(str, range(items))),
        outputs=("",) * items,
        settings={"chat_template": 0, **settings},
        metrics={"acc": ScoreRecord(score=right / items, values=values, weights=(1.0,) * items)},
    )
    Store(folder).put(stored)


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """First line of each row, by claim and ratio: whether it is enough, items, what it finds, alpha, and so on."""
    lines = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    found = [line for line in lines if len(line) == 9]
    return {(line[0], ratio): line[2:] for line in found for ratio in line[1].split(", ")}


@pytest.mark.parametrize("width", ["80", "100"])
def test_no_line_is_wider_than_the_window(file, tmp_path, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    assert main(["power", str(file), "--store", str(tmp_path / "none")]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(width)


def test_a_run_that_cannot_answer_says_so_before_it_begins(file, tmp_path, capsys):
    store = tmp_path / "none"
    assert main(["power", str(file), "--store", str(store), "--limit", "100"]) == 0
    said = capsys.readouterr().out
    assert "6 claims: 2 cannot be answered by this run, of 1 that is unknown; 2 claims of other kinds" in said
    shown = rows(said)
    assert shown["factual_knowledge down", "0.2"][1::2] == ["100", "0.05/2", "-"]
    assert re.search(r"reading preserved .* no: needs 43\d\d", said)
    assert re.search(r"arithmetic down, .* no: needs 5 .* 3: \?", said)
    assert re.search(r"story_modelling down .* unknown: needs a", said)
    assert not store.exists()
    assert main(["power", str(file), "--store", str(store), "--require"]) == 1


def test_where_no_claim_is_planned_no_table_is_explained(file, tmp_path, capsys):
    head, _, costs = FILE.partition("  - {capability: factual_knowledge")
    file.write_text(head + costs.splitlines()[-1])
    assert main(["power", str(file), "--store", str(tmp_path / "none")]) == 0
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("0 claims: ")


def test_require_is_satisfied_where_every_claim_can_be_answered(file, tmp_path, capsys):
    file.write_text(FILE.split("  - {capability: reading")[0])
    assert main(["power", str(file), "--store", str(tmp_path / "none"), "--require"]) == 0
    assert "2 claims: 0 cannot" in capsys.readouterr().out


def test_the_assumed_share_can_be_set_and_is_stated(file, tmp_path, capsys):
    def finds(changed: str) -> float:
        assert main(["power", str(file), "--store", str(tmp_path / "none"), "--changed", changed]) == 0
        return float(rows(capsys.readouterr().out)["factual_knowledge down", "0.5"][2])

    assert finds("0.05") < finds("0.2") < finds("0.6")
    assert main(["power", str(file), "--changed", "1.5"]) == 2
    assert "'1.5' is not allowed; it is a share of items from 0 to 1, such as 0.2" in capsys.readouterr().err


def known(file: Path, store: Path, limit: int | None = None):
    """What is known of `factual_knowledge down`, by ratio."""
    pilots = Pilots(store, limit)
    return {
        str(case.ratio): pilots.known(case)
        for case in read(file)
        if case.id.endswith("factual_knowledge") and hasattr(case, "ratio")
    }


def test_records_of_the_same_ratio_then_of_the_nearest_are_the_pilot(file, tmp_path):
    store = tmp_path / "store"
    put(store, "dense", 400, key=1)
    put(store, "ppm-0.4", 300, key=2)
    put(store, "ppm-0.1", 390, key=3)
    found = known(file, store)
    assert {ratio: str(each.at.ratio) for ratio, each in found.items()} == {"0.2": "0.1", "0.5": "0.4"}
    assert {each.items for each in found.values()} == {480}
    put(store, "ppm-0.5", 200, key=4)
    found = known(file, store)["0.5"]
    assert str(found.at.ratio) == "0.5"
    assert found.scores.contrast(found.at.arm, DENSE).difference == pytest.approx(-200 / 480)


def test_a_quick_look_is_a_pilot_of_the_whole_run(file, tmp_path):
    store = tmp_path / "store"
    put(store, "dense", 80, items=100, key=1, part="0-100")
    put(store, "ppm-0.5", 60, items=100, key=2, part="0-100")
    found = known(file, store)["0.5"]
    assert (found.scores.items, found.items, found.units) == (100, 480, 480)
    assert known(file, store, limit=50)["0.5"].items == 50
    rows_of_it, _ = Pilots(store).plan([case for case in read(file) if case.id.endswith("0.5-factual_knowledge")])
    assert [row.spread for row in rows_of_it] == ["pilot of 100"]


@pytest.mark.parametrize(
    "other",
    [{"chat_template": 1}, {"num_fewshot": 5}, {"dtype": "bfloat16"}, {"seed": 7}],
    ids=lambda each: next(iter(each)),
)
def test_records_that_answered_otherwise_are_no_pilot(file, tmp_path, other):
    store = tmp_path / "store"
    put(store, "dense", 400, key=1)
    put(store, "ppm-0.5", 300, key=2, **other)
    assert known(file, store)["0.5"].scores is None


@pytest.mark.parametrize("other", [{"chat_template": 1}, {"num_fewshot": 5}], ids=lambda each: next(iter(each)))
def test_two_records_that_were_both_asked_otherwise_are_no_pilot(file, tmp_path, other):
    store = tmp_path / "store"
    put(store, "dense", 400, key=1, **other)
    put(store, "ppm-0.5", 300, key=2, **other)
    assert known(file, store)["0.5"].scores is None


def test_a_damaged_record_is_no_pilot_and_no_error(file, tmp_path, capsys):
    store = tmp_path / "store"
    put(store, "dense", 400, key=1)
    put(store, "ppm-0.5", 300, key=2)
    path = Store(store).path(f"{2:064x}", Record)
    path.write_bytes(path.read_bytes()[:-200])
    assert main(["power", str(file), "--store", str(store)]) == 0
    assert "assumed" in capsys.readouterr().out


def test_a_session_plans_what_is_selected_and_runs_nothing(pytester, file):
    pytester.makeini("[pytest]\nstrict = true\n")
    pytester.makepyfile(
        test_claims="""
        def test_direction(glu_case, glu_check):
            raise AssertionError

        def test_trend(glu_trend, glu_check):
            raise AssertionError
        """
    )
    place = f"--glu-expectations={file}"
    done = pytester.inline_run(
        "--glu-plan", place, "--glu-limit", "60", "--glu-changed", "0.3", "-k", "factual_knowledge"
    )
    assert done.ret == pytest.ExitCode.OK
    assert not (pytester.path / ".glu-prune").exists()
    found = pytester.runpytest("--glu-plan", place, "--glu-limit", "60", "--glu-changed", "0.3", "-k", "ratio_0.5")
    said = str(found.stdout)
    assert "assumed" in said
    assert "30 %" in said
    shown = rows(said)
    assert ("factual_knowledge down", "0.5") in shown
    assert shown["factual_knowledge down", "0.5"][1::2] == ["60", "0.05/2", "-"], "the family is that of the files"
    assert ("factual_knowledge down", "0.2") not in shown


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--glu-sequential"], "leave out --glu-sequential"),
        (["--glu-evidence", "published"], "--glu-evidence published"),
        (["--glu-save-baseline", "main"], "baselines"),
        (["-n", "2"], "leave out -n"),
        (["--glu-changed", "many"], "share 'many' is not allowed"),
    ],
)
def test_what_makes_no_sense_beside_a_plan_is_refused(pytester, more, complaint):
    found = pytester.runpytest("--glu-plan", *more)
    assert found.ret == pytest.ExitCode.USAGE_ERROR
    assert complaint in str(found.stderr)


def test_a_plan_of_nothing_says_why(pytester):
    pytester.makepyfile(test_it="def test_direction(glu_case, glu_check):\n    raise AssertionError\n")
    claims = "model: ./nowhere\nratios: [0.5]\nexpect:\n  - {capability: reading, direction: down, why: t}\n"
    (pytester.path / "claims.yaml").write_text(claims)
    found = pytester.runpytest("--glu-plan", "--glu-expectations=claims.yaml")
    assert found.ret == pytest.ExitCode.OK
    assert "nothing to plan: no selected claim is about a model that is here; --glu-model NAME says more" in str(
        found.stdout
    )


def test_ranges_of_a_claim_are_from_its_least_to_its_greatest_number():
    row = PlannedClaim.model_construct(smallest=9.5)
    some = _Together([row, row.model_copy(update={"smallest": 10.25}), row.model_copy(update={"smallest": 9.75})])
    assert some.each(lambda each: _number(each.smallest)) == "9.500 to 10.250"
