"""Logs sessions to trackio, where its own variables say: `TRACKIO_DIR`, `TRACKIO_SPACE_ID`, `TRACKIO_SERVER_URL`."""

import pytest

from glu_prune.evaluation.third_party import muted
from glu_prune.results.report import Report
from glu_prune.trackers.entries import entries


def pytest_glu_report(report: Report, config: pytest.Config) -> str:
    """One run: parameters, and figures by step."""
    import trackio

    found = entries(report, config)
    with muted():
        run = trackio.init(found.experiment, config=dict(found.parameters), embed=False)
        try:
            for step, figures in sorted(found.figures.items()):
                trackio.log(dict(figures), step=step)
        finally:
            trackio.finish()
    return f"trackio: run {run.name} of project {found.experiment}; `trackio show` has the page"
