"""The published schema is that of the types, and what is written fits it, field by field."""

import json

import pytest
from pydantic import ValidationError

from glu_prune.report.files import write
from glu_prune.report.formats.json import schema
from glu_prune.results.report import VERSION, Report
from tests.helpers import ROOT
from tests.helpers.reports import fits


def test_the_published_schema_is_that_of_the_types():
    found = ROOT / "docs" / "report.schema.json"
    assert found.read_text() == schema(), "python -m tools.report_schema > docs/report.schema.json"


def test_an_empty_report_fits(tmp_path):
    write(Report(), tmp_path)
    assert fits((tmp_path / "report.json").read_text()).version == VERSION


def test_what_does_not_fit_is_found(tmp_path):
    write(Report(), tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    for wrong in ({"version": 2}, {"scores": [{}]}, {"cases": None}, {"unknown": []}):
        with pytest.raises(ValidationError):
            Report.model_validate({**data, **wrong})
