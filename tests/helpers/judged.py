"""What published figures say of the study's claims: a whole report with many models, in seconds."""

from functools import cache

from glu_prune.results.report import Report
from glu_prune.sources.judged import judged
from tests.helpers import ROOT


@cache
def published() -> Report:
    return judged("published", ROOT / "expectations", ROOT).report
