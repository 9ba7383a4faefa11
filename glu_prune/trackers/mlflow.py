"""Logs sessions to MLflow, where its own variables say: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from glu_prune.evaluation.third_party import muted
from glu_prune.files import write_whole
from glu_prune.report.files import rendered
from glu_prune.results.report import Report
from glu_prune.trackers.entries import entries


def pytest_glu_report(report: Report, config: pytest.Config) -> str:
    """One run: parameters, figures by step, and the files of the results folder as artifacts."""
    import mlflow

    found = entries(report, config)
    with muted(), TemporaryDirectory() as folder:
        if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"} & os.environ.keys():
            mlflow.set_experiment(found.experiment)
        for name, content in rendered(report).items():
            write_whole(Path(folder, name), content)
        with mlflow.start_run(nested=True) as run:  # a session may be part of a run of the user's
            mlflow.log_params(found.parameters)
            for step, figures in sorted(found.figures.items()):
                mlflow.log_metrics(figures, step=step)
            mlflow.log_artifacts(folder)
    return f"MLflow: run {run.info.run_name} in {mlflow.get_tracking_uri()}"
