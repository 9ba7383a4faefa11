"""What `report.json` holds, as types: `python -m glu_prune.report.schema` prints the JSON schema of docs/.

A reader may meet more fields than these under the same version; none of these is removed or changes its meaning.
"""

import json
import sys
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from glu_prune.report.session import VERSION

Number = float | None
"""None where there is no number: not measured, or a limit that is open."""
Interval = list[Number] | None
"""The mean or change, and the limits of its 95 % interval."""
Outcome = Literal["confirmed", "refuted", "inconclusive", "artefact"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)

    model: str
    more: Mapping[str, str | bool | float | None] = {}
    """Columns that users add."""


class _Claimed(_Row):
    declared: Outcome
    outcome: Outcome
    sentence: str
    """The verdict and the numbers that led to it."""
    reasons: list[str]
    why: str
    file: str
    where: str
    """File and line."""
    in_file: int
    """Claims at ratios in the file, for which `holm` is corrected."""


class _AtRatio(_Claimed):
    """A claim at one ratio, as `Verdict` explains its fields."""

    ratio: str
    capability: str
    metric: str
    claim: str
    dense: Number
    pruned: Number
    delta: Number
    low: Number
    high: Number
    p: Number
    tests: int
    holm: Number
    """p, corrected for all claims at ratios of the file."""
    test: str
    items: int
    gained: int | None
    lost: int | None
    floor: Number
    floor_of: str | None
    needed: int | None
    note: str
    of: int | None


class Score(_AtRatio):
    """A claim about a capability."""

    better: Literal["higher", "lower"]
    controls: Mapping[str, Number]
    """Criterion to its score at the same ratio."""


class Cost(_AtRatio):
    """A claim about a figure of cost."""

    percent: list[Number]
    """Change of the figure, and the limits of its 95 % interval."""


class Trend(_Claimed):
    """A claim across ratios."""

    about: str
    relation: str
    points: int
    statistics: str


class Why(_Row):
    """What moved with a capability; pairs are dense and pruned."""

    ratio: str
    capability: str
    gained: int | None
    lost: int | None
    margin: list[Number] | None
    length: list[Number] | None
    flawed: list[Number] | None
    kinds: list[str] | None
    sound: list[Number] | None
    sound_items: int


class Group(_Row):
    """A capability on the items that share a label."""

    ratio: str
    capability: str
    field: str
    label: str
    items: int
    dense: Number
    pruned: Number


class Against(_Row):
    """One arm on one capability against a baseline, as `Compared` and `Change` explain its fields."""

    against: str
    arm: str
    capability: str
    task: str
    metric: str
    better: Literal["higher", "lower"]
    items: int
    before: Number
    after: Number
    delta: Number
    low: Number
    high: Number
    p: Number
    test: str
    worse: int | None
    improved: int | None
    worse_items: list[str]
    improved_items: list[str]
    band: float
    margin: float
    outcome: Literal["improved", "unchanged", "regressed", "incomparable"]
    note: str
    sentence: str


class Finding(_Row):
    """What a check of evidence found."""

    check: str
    subject: str
    says: str
    spoils: list[str]
    ratios: list[str]
    workloads: list[str]
    leaves_open: bool


class Efficiency(_Row):
    """One figure of one workload."""

    ratio: str
    arm: str
    workload: str
    figure: str
    unit: str
    n: int
    dense: Interval
    pruned: Interval
    change: Interval
    """In percent."""
    again: Interval
    """The same for a copy of the dense model."""
    how: str


class Energy(_Row):
    """Energy of one channel, in joules per token."""

    ratio: str
    workload: str
    arm: str
    channel: str
    n: int
    gross: Interval
    idle: list[Number] | None
    """Watts, and their standard deviation."""
    net: Interval
    method: str


class Recomputed(_Row):
    """Energy per token from published energies."""

    workload: str
    ratio: str
    runs: int
    joules: Mapping[str, Number]


class _Size(BaseModel):
    parameters: int
    bytes: int
    width: int
    hidden: int
    expansion_ratio: float


class Evaluation(_Row, _Size):
    """What the evaluations of one arm cost."""

    arm: str
    tokens_per_second: Number
    joules_per_1000_tokens: Number
    joules: Mapping[str, Number]
    others: Number
    """Share of the machine's processors that other processes used meanwhile."""
    method: str


class _Reading(BaseModel):
    joules: Number
    method: str


class _Spent(BaseModel):
    seconds: Number
    positions: int | None
    scored_positions: int | None
    energy: Mapping[str, _Reading]
    note: str
    others: Number


class Cell(_Row):
    """One task on one arm."""

    arm: str
    control: bool
    ratio: str
    task: str
    part: str
    prompts: int
    truncated: int | None
    new_tokens: int
    limit: int | None
    scores: Mapping[str, list[Number]]
    """Metric to its score, its standard error, and how many things it is over."""
    size: _Size
    cost: _Spent


class Case(BaseModel):
    """How one test ended."""

    case: str
    model: str
    file: str
    line: int
    declared: str
    result: Literal["passed", "failed", "inconclusive", "skipped"]
    message: str
    """Empty where it passed."""


class Report(BaseModel):
    """`report.json`: each table under its name."""

    version: Literal[1] = Field(description="Another number when a reader of this one would err.")
    scores: list[Score]
    why: list[Why]
    groups: list[Group]
    baseline: list[Against]
    trends: list[Trend]
    costs: list[Cost]
    findings: list[Finding]
    efficiency: list[Efficiency]
    energy: list[Energy]
    recomputed: list[Recomputed]
    evaluations: list[Evaluation]
    cells: list[Cell]
    cases: list[Case]


def schema() -> str:
    """The JSON schema of `report.json`, as docs/report.schema.json holds it."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": f"version {VERSION}"}
    return json.dumps({**head, **Report.model_json_schema()}, indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
