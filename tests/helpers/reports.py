"""Whether a report is what the published schema says."""

import json

from glu_prune.results.report import Report


def fits(text: str) -> Report:
    """The report in `text`, of which no field is unknown to the schema."""
    report = Report.model_validate_json(text)
    assert report.json_row() == json.loads(text)
    return report
