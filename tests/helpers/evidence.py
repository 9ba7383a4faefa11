"""Published figures, and made ones like them."""

from decimal import Decimal

from glu_prune.evidence.figures import Score
from tests.helpers import ROOT

PUBLISHED = ROOT / "expectations" / "evidence"


def score(value: float, metric: str = "acc", **fields) -> Score:
    given = {"model": "m", "ratio": Decimal(0), "task": "t", "stderr": None, "items": 100, "source": "s"}
    return Score(**given | {"value": value, "metric": metric} | fields)
