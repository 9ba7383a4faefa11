"""What every result is made of: a frozen model that is JSON on the way, and the words and numbers in it."""

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from glu_prune.pruning.ratio import show_ratio

Outcome = Literal["confirmed", "refuted", "inconclusive", "artefact"]
"""What the evidence says of a claim: the verdict's whole vocabulary."""
Better = Literal["higher", "lower"]
"""Which way the metric of a capability counts."""


def _finite(value: object) -> object:
    """JSON has no infinity and no NaN: a limit that so few items leave open is None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]
"""None where there is no number: not measured, or a limit that is open."""
Interval = tuple[Number, Number, Number]
"""A mean or a change, and the lower and upper limit of its 95 % interval."""
RatioField = Annotated[Decimal, PlainSerializer(show_ratio, return_type=str)]
"""A pruning ratio, exact; in JSON a text such as "0.5"."""


class Result(BaseModel):
    """Frozen, and closed to fields it does not know; JSON uses the aliases, which are what readers of files know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    def json_row(self) -> dict[str, object]:
        """As `report.json` has it."""
        return self.model_dump(mode="json", by_alias=True)


class Row(Result):
    """One row of a table, about one model."""

    model: str
    extra: Annotated[Mapping[str, str | bool | int | float | None], Field(alias="more")] = {}
    """Columns that users add."""


class OfArm(Row):
    """A row about one arm."""

    ratio: RatioField | None
    """Of neurons that are removed; None of an arm that its file gives a name."""
    named: str = ""
    """That name; empty of an arm that is a criterion and a ratio."""

    @property
    def at(self) -> str:
        """Its name, or its ratio."""
        return self.named or ("-" if self.ratio is None else show_ratio(self.ratio))

    @property
    def order(self) -> tuple[bool, Decimal]:
        """By which arms are sorted: ratios as they grow, then names as they come."""
        return self.ratio is None, self.ratio or Decimal(0)
