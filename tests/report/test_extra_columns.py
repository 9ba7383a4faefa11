"""Columns that users add."""

import math

import numpy as np
import pytest

from glu_prune.errors import ReportError
from glu_prune.report.extra_columns import extra_columns, with_extra
from glu_prune.report.table import Column, frame, render
from glu_prune.results.base import Row


class Measured(Row):
    dense: int
    mean: tuple[float, float] | None


COLUMNS = (Column("dense", lambda row: row.dense), Column("mean", lambda row: row.mean, parts=("", "low")))
ROW = Measured(model="m", dense=1, mean=None)


def test_values_stand_after_the_tables_own_in_order_of_appearance():
    rows = [
        with_extra(ROW, COLUMNS, [{"kept": 0.5, "seen": True}]),
        ROW,
        with_extra(ROW, COLUMNS, [{"kept": None}, {"by": "me"}]),
    ]
    columns = COLUMNS[:1] + extra_columns(rows)
    assert [line.split() for line in render(columns, rows, "plain").splitlines()] == [
        ["dense", "kept", "seen", "by"],
        ["1", "0.500", "True", "-"],
        ["1", "-", "-", "-"],
        ["1", "-", "-", "me"],
    ]
    assert list(frame(columns, rows)["by"].fillna("")) == ["", "", "me"]


def test_without_more_a_row_stays_as_it_is():
    assert with_extra(ROW, COLUMNS, []) is ROW
    assert with_extra(ROW, COLUMNS, [{}]) is ROW
    assert extra_columns([ROW]) == ()


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([("a", 1)], r"returned \('a', 1\); a mapping from heading to value is allowed, or None"),
        ([{1: 2}], "returned the heading 1; a text is allowed"),
        ([{"": 2}], "returned the heading ''; a text is allowed"),
        ([{"dense": 2}], "returned a column 'dense', which the table has already; choose another heading"),
        ([{"mean low": 2}], "returned a column 'mean low', which the table has already"),
        ([{"model": "m"}], "returned a column 'model', which the table has already"),
        ([{"a": 1}, {"a": 2}], "returned a column 'a', which the table has already"),
        ([{"a": [1]}], r"returned \[1\] \(list\) for 'a'; str, int, float, bool and None are allowed"),
        ([{"a": np.float64(1)}], r"returned .*1.0.* \(float64\) for 'a'; str, int"),
        ([{"a": math.nan}], "returned nan for 'a'; give None where there is no number"),
    ],
)
def test_what_a_table_cannot_show_is_refused(found, complaint):
    with pytest.raises(ReportError, match=complaint):
        with_extra(ROW, COLUMNS, found)
