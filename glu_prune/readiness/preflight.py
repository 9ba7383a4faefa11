"""Refuses a run for what would stop it hours after it began."""

import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace

from glu_prune.errors import NotReadyError
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.checks import CHECKS
from glu_prune.readiness.network import is_offline

_PATIENCE = 10.0
"""Seconds in which the hub has to answer."""


def refuse_obstacles(run: Run) -> None:
    """Checks all that `run` cannot do without; what it downloads by itself is no obstacle.

    Raises:
        NotReadyError: something is missing; it says what mends it.
    """
    missing = [result for check in CHECKS if check.refuses for result in check.results(run) if result.missing]
    if obstacles := _without_downloads(missing):
        lines = (f"{each.what}: {each.detail}" + (f"; {each.remedy}" if each.remedy else "") for each in obstacles)
        raise NotReadyError("; ".join(lines))


def _without_downloads(missing: Sequence[CheckResult]) -> list[CheckResult]:
    """Those of `missing` that no download will mend, as the run is offline or the hub does not answer."""
    if is_offline() or not any(each.downloadable for each in missing):
        return list(missing)
    if (why := _unreached()) is None:
        return [each for each in missing if not each.downloadable]
    return [replace(each, detail=f"{each.detail}, and {why}") if each.downloadable else each for each in missing]


def _unreached() -> str | None:
    """Why the Hugging Face hub cannot be reached; None if it can."""
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        return None  # it answers
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT} cannot be reached: {error}"
    return None
