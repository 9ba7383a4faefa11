"""Results in a notebook."""

import json
import re

import pandas as pd
import pytest

import glu_prune
from glu_prune.errors import StoreError
from glu_prune.notebook import Results
from glu_prune.report.column_notes import _ABOUT, documented
from glu_prune.report.files import write
from glu_prune.report.tables import TABLES
from glu_prune.results.report import Report
from tests.helpers import ROOT, hostile
from tests.helpers.judged import published


def test_tables_are_those_of_the_files(tmp_path):
    write(published(), tmp_path)
    results = glu_prune.load_results(tmp_path)
    for path in tmp_path.glob("*.csv"):
        csv = pd.read_csv(path)
        assert list(results[path.stem].columns) == list(csv.columns)
        assert len(results[path.stem]) == len(csv)
    assert results["scores"]["delta"].tolist() == pytest.approx(pd.read_csv(tmp_path / "scores.csv")["delta"].tolist())


def test_every_column_of_every_table_is_explained_and_nothing_else_is():
    explained = {heading for name in TABLES for heading, meaning in documented(name) if meaning}
    assert _ABOUT.keys() <= explained
    for name in TABLES:
        assert list(Results.columns(name)["column"]) == [heading for heading, _ in documented(name)]


def test_it_displays_as_its_claims_and_a_figure():
    shown = Results(published())._repr_html_()
    assert shown.count("<tr") == len(published().scores) + 1
    assert "<svg" in shown
    assert "n = 541" in shown


def test_names_in_it_only_show():
    row = published().scores[0].model_copy(update={"model": hostile.MODEL, "capability": "<script>x</script>"})
    shown = Results(Report(scores=(row,)))._repr_html_()
    assert not re.search(r"<script|[\x1b\u202e]", shown)


def test_what_is_not_there_is_said():
    with pytest.raises(KeyError, match="no table 'cost'; there are: scores, trends"):
        Results(published())["cost"]
    with pytest.raises(StoreError, match="'nothing' is neither published"):
        glu_prune.load_results("nothing", ROOT / "expectations")
    assert repr(Results(Report())) == "Results(nothing)"


def test_the_example_notebook_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    cells = json.loads((ROOT / "docs" / "results.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(code) == 5
    for each in code:
        exec(each, names)
    assert set(names["gains"]["verdict"].str.split().str[0]) == {"inconclusive", "refuted"}
