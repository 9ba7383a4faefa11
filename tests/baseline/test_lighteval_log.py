"""Logs of lighteval: real ones, and what may be wrong with one."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from glu_prune.baseline import lighteval_log
from glu_prune.baseline.compare import compare, paired
from glu_prune.baseline.sources import outcomes
from glu_prune.cli import main
from tests.helpers.harness_logs import lighteval_logs


@pytest.fixture
def logs(tmp_path) -> dict[str, Path]:
    return lighteval_logs(tmp_path / "logs")


def details(logs: dict[str, Path], model: str, task: str) -> Path:
    (found,) = (logs[model].parents[2] / "details" / model).rglob(f"details_{task}*")
    return found


def rewrite(path: Path, **columns) -> None:
    """The details with other columns, each a function of what it holds of an item."""
    table = pq.read_table(path)
    for name, change in columns.items():
        table = table.set_column(
            table.schema.get_field_index(name), name, pa.array([change(each) for each in table[name].to_pylist()])
        )
    pq.write_table(table, path)


def test_each_score_is_that_which_lighteval_reports(logs):
    """BLEU, which is one of a whole corpus, is left out."""
    for path in logs.values():
        reported = json.loads(path.read_text())["results"]
        found = {(each.about.task, each.about.metric): each.about for each in outcomes(path)}
        assert set(found) == {("recalls|0", "em"), ("recalls|0", "f1"), ("choices|0", "acc"), ("choices|0", "mrr")}
        for (task, metric), about in found.items():
            assert about.score == pytest.approx(reported[task][metric])
            assert (about.n, about.higher_is_better) == (12, True)


def test_a_score_that_items_do_not_make_up_is_left_out(logs):
    content = json.loads(logs["dense"].read_text())
    content["results"]["recalls|0"]["em"] = 0.5
    logs["dense"].write_text(json.dumps(content))
    assert {each.about.capability for each in outcomes(logs["dense"])} == {
        "recalls|0/f1",
        "choices|0/acc",
        "choices|0/mrr",
    }


def test_two_runs_are_compared_item_by_item(logs, capsys):
    assert main(["compare", str(logs["dense"]), str(logs["pruned"])]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "✗ regressed recalls|0/em" in said
    assert "note: a log of lighteval says neither how prompts were put to the model" in said
    found = {each.about.capability: each for each in compare(paired(outcomes(logs["dense"]), outcomes(logs["pruned"])))}
    moved = found["recalls|0/em"].change
    assert moved.test == "exact McNemar"
    lost, won = len(moved.worse), len(moved.better)
    assert (lost, won) == (11, 0)
    assert moved.p == pytest.approx(2 * 0.5**11)


def test_the_folder_of_an_output_holds_all_its_models(logs):
    found = outcomes(logs["dense"].parents[2])
    assert {each.about.model for each in found} == {"dense", "pruned"}
    assert {each.about.key for each in found} >= {each.about.key for each in outcomes(logs["dense"].parent)}


def test_items_are_in_the_order_of_their_ids_whatever_that_of_the_log_is(logs):
    """Lighteval shuffles them."""
    before = outcomes(logs["dense"])
    path = details(logs, "dense", "recalls")
    table = pq.read_table(path)
    pq.write_table(table.take(list(reversed(range(len(table))))), path)
    assert outcomes(logs["dense"]) == before


def test_items_that_do_not_meet_are_incomparable(logs, capsys):
    rewrite(
        details(logs, "dense", "recalls"), doc=lambda doc: {**doc, "query": doc["query"] + "?" * (doc["id"] == "3")}
    )
    assert main(["compare", str(logs["dense"]), str(logs["pruned"]), "--fail-on", "incomparable"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "1 items only before, 1 only now" in said


def test_other_prompts_are_named(logs):
    before = outcomes(logs["dense"])
    text = logs["dense"].read_text()
    hashes = json.loads(text)["summary_tasks"]["recalls|0"]["hashes"]
    logs["dense"].write_text(text.replace(hashes["hash_input_tokens"], "0" * 16))
    found = {each.about.capability: each.note for each in compare(paired(before, outcomes(logs["dense"])))}
    assert found["recalls|0/em"] == "no item changed, other prompt tokens"
    assert found["choices|0/acc"] == "no item changed"


def refused(logs: dict[str, Path], why: str, capsys) -> None:
    for order in (("dense", "pruned"), ("pruned", "dense")):
        assert main(["compare", *(str(logs[name]) for name in order)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line
        assert logs["dense"].name in line
        assert len(line) < 1200


def test_results_without_details_are_refused(logs, capsys):
    shutil.rmtree(logs["dense"].parents[2] / "details" / "dense")
    refused(logs, "has no details of recalls|0", capsys)
    refused(logs, "run it again with --save-details", capsys)


def test_details_beside_the_results_are_found(logs):
    """Results of another template of paths may be anywhere."""
    before = outcomes(logs["dense"])
    for task in ("recalls", "choices"):
        path = details(logs, "dense", task)
        path.rename(logs["dense"].with_name(path.name))
    assert outcomes(logs["dense"]) == before


def test_details_that_are_cut_short_are_refused(logs, capsys):
    path = details(logs, "dense", "choices")
    for size in (0, 9, 1000, path.stat().st_size - 30):
        path.write_bytes(path.read_bytes()[:size])
        refused(logs, "is not what lighteval writes", capsys)


@pytest.mark.parametrize(("column", "value"), [("metric", 3), ("metric", [1]), ("doc", "x"), ("doc", {"id": "1"})])
def test_details_that_are_none_are_refused(logs, capsys, column, value):
    for task in ("recalls", "choices"):
        rewrite(details(logs, "dense", task), **{column: lambda _: value})
    refused(logs, "", capsys)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"config_tasks": {', '"config_tasks": {"../../x": {}, '), ('"config_tasks": {', '"config_tasks": {"a/b": {}, '), ('"config_tasks"', '"config_tasks": 5, "x"'), ('"metrics": [', '"metrics": [1, '), ('"model_name": "dense"', '"model_nam": 1')],
)  # fmt: skip
def test_results_that_are_none_are_refused(logs, capsys, old, new):
    logs["dense"].write_text(logs["dense"].read_text().replace(old, new))
    refused(logs, "", capsys)


def test_what_is_too_large_is_not_read(logs, capsys, monkeypatch):
    monkeypatch.setattr(lighteval_log, "_MOST", 100)
    assert main(["compare", str(logs["dense"]), str(logs["pruned"])]) == 2
    assert "are read; log fewer items" in capsys.readouterr().err
