"""Which families of transformers can be pruned, as `python -m tools.survey` found with this version of the package."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

FILE = Path(__file__).parent / "families.json"

Status = Literal["proven", "not supported", "no GLU"]


class Family(BaseModel):
    """What is known of one family."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    """As transformers names it in `model_type`."""
    model: str
    """Its class in transformers."""
    status: Status
    layouts: str = ""
    """How it stores its GLU blocks."""
    why: str = ""
    """What is particular, or what stands in the way."""


class Families(BaseModel):
    """The families of one version of transformers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transformers: str
    families: tuple[Family, ...]


def recorded() -> Families:
    """The table that comes with this package."""
    return Families.model_validate_json(FILE.read_bytes())
