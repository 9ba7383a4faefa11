import csv

import pytest

from tools import floors

pytestmark = pytest.mark.slow("tests what made the committed models and tables, which does not change with the package")


def test_the_table_has_a_row_per_metric_and_null(capsys):
    floors.main(["tiny_recall_mc", "tiny_truthfulness:0"])
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == 3 + 2 * 3
    assert set(rows[0]) == {"task", "metric", "null", "score", "sd", "items"}
    uniform = next(row for row in rows if (row["task"], row["null"]) == ("tiny_recall_mc", "uniform"))
    assert (uniform["score"], uniform["sd"], uniform["items"]) == ("0.25", "0", "480")
