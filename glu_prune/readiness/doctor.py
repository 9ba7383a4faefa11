"""Shows what a run of expectation files needs, and whether it is here."""

from glu_prune.readiness.check import Run, table
from glu_prune.readiness.checks import CHECKS
from glu_prune.readiness.network import offline
from glu_prune.report.table import wrapped


def doctor(run: Run) -> tuple[str, bool]:
    """A table of what `run` needs, with a last line that sums it up, and whether all of it is ready.

    It opens no connection and loads no model.
    """
    with offline():
        found = [result for check in CHECKS for result in check.results(run)]
    lacking = [each.what for each in found if each.missing]
    summary = f"missing: {', '.join(lacking)}" if lacking else "all that is needed is ready"
    return f"{table(found)}\n\n{wrapped(summary)}", not lacking
