"""Claims as data: an expectation file in YAML becomes typed claims, or one error that names file, line and value."""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from glu_prune.errors import ExpectationError, PlanError
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.pruning.importance import REVERSED, criterion
from glu_prune.pruning.ratio import parse_ratio, show_ratio

Direction = Literal["up", "down", "preserved"]
Outcome = Literal["confirmed", "refuted", "inconclusive"]


def _criterion(name: str) -> str:
    """The name of a criterion that a sweep can use: it exists and needs no calibration text."""
    try:
        found = criterion(name)
    except PlanError as error:
        raise ValueError(str(error)) from error
    if found.looks_at == "activations":
        msg = f"criterion {name!r} needs calibration text, which expectation files cannot give"
        raise ValueError(msg)
    return name if name.startswith(REVERSED) else found.name


def _ratio(value: object) -> Decimal:
    try:
        ratio = parse_ratio(value)
    except PlanError as error:
        raise ValueError(str(error)) from error
    if ratio == 0:
        msg = "ratio 0 is the dense model, which every case is compared with; leave it out"
        raise ValueError(msg)
    return ratio


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        msg = f"{repeated[0]} occurs more than once"
        raise ValueError(msg)
    return values


_Criterion = Annotated[str, AfterValidator(_criterion)]
_Ratios = Annotated[
    tuple[Annotated[Decimal, BeforeValidator(_ratio)], ...], Field(min_length=1), AfterValidator(_unique)
]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Expectation(_Closed):
    """One claim about one capability."""

    capability: str
    direction: Direction
    """What the capability does when neurons go, whichever way its metric counts."""
    ratios: _Ratios | None = None
    """Where the claim is made; all ratios of the file if absent."""
    margin: Annotated[float, Field(gt=0)] | None = None
    """For `preserved`: the largest change, in units of the metric, that does not matter."""
    verdict: Outcome = "confirmed"
    """What is known to happen; the case fails when something else does."""
    why: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _margin_where_needed(self) -> "Expectation":
        if (self.direction == "preserved") != (self.margin is not None):
            msg = f"direction {self.direction} {'needs' if self.margin is None else 'takes no'} margin"
            raise ValueError(msg)
        return self


class ExpectationFile(_Closed):
    """The claims about one model."""

    model: str
    revision: str | None = None
    suite: Literal["embedded", "study"] = "embedded"
    criterion: _Criterion = "ppm"
    seed: int = 0
    ratios: _Ratios
    controls: Annotated[tuple[_Criterion, ...], AfterValidator(_unique)] = ()
    """Criteria that are run at the same ratios, for comparison."""
    expect: Annotated[tuple[Expectation, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Case:
    """One claim at one ratio: what becomes one pytest case."""

    file: str
    line: int
    model: str
    revision: str | None
    criterion: str
    controls: tuple[str, ...]
    seed: int
    ratio: Decimal
    capability: Capability
    expectation: Expectation
    id: str


def read(path: Path) -> tuple[Case, ...]:
    """The cases of the expectation file `path`, in order of ratio, then as written.

    Raises:
        ExpectationError: the file is missing, no YAML, or says something that is not allowed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: {getattr(error, 'strerror', None) or error}"
        raise ExpectationError(msg) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        msg = f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}"
        raise ExpectationError(msg) from error
    try:
        file = ExpectationFile.model_validate(data)
    except ValidationError as error:
        raise _explain(path, root, error) from error
    cases = tuple(_cases(path, root, file))
    _refuse_repeats(path, cases)
    return cases


def _cases(path: Path, root: yaml.Node | None, file: ExpectationFile) -> Iterator[Case]:
    suite = SUITES[file.suite]
    lines = [_line(root, ("expect", index)) for index in range(len(file.expect))]
    for index, expectation in enumerate(file.expect):
        if expectation.capability not in suite:
            where = f"{path}:{_line(root, ('expect', index, 'capability'))}: capability"
            raise _unknown(where, expectation.capability, tuple(suite))
        if strange := set(expectation.ratios or ()) - set(file.ratios):
            line = _line(root, ("expect", index, "ratios"))
            msg = (
                f"{path}:{line}: ratio {show_ratio(min(strange))} is not among the ratios of this file "
                f"({', '.join(map(show_ratio, file.ratios))}); this entry would match no case there"
            )
            raise ExpectationError(msg)
    name = Path(file.model).name
    for ratio in file.ratios:
        seen: set[str] = set()
        for expectation, line in zip(file.expect, lines, strict=True):
            if ratio not in (expectation.ratios or file.ratios):
                continue
            repeated = expectation.capability in seen
            seen.add(expectation.capability)
            parts = [name, f"ratio_{show_ratio(ratio)}", expectation.capability]
            yield Case(
                file=str(path),
                line=line,
                model=file.model,
                revision=file.revision,
                criterion=file.criterion,
                controls=file.controls,
                seed=file.seed,
                ratio=ratio,
                capability=suite[expectation.capability],
                expectation=expectation,
                id="-".join([*parts, expectation.direction] if repeated else parts),
            )


def _refuse_repeats(path: Path, cases: Sequence[Case]) -> None:
    """Raises `ExpectationError` if the same claim is made twice at one ratio."""
    claims: dict[tuple[str, str, Decimal], int] = {}
    for case in cases:
        claim = (case.capability.name, case.expectation.direction, case.ratio)
        if claim in claims:
            msg = (
                f"{path}:{case.line}: {claim[0]} {claim[1]} at ratio {show_ratio(case.ratio)} is claimed a second "
                f"time; the first is in line {claims[claim]}"
            )
            raise ExpectationError(msg)
        claims[claim] = case.line


def _explain(path: Path, root: yaml.Node | None, error: ValidationError) -> ExpectationError:
    """One complaint of pydantic, in one line, with the line of the file; a misspelt key rather than the missing one."""
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    where = ".".join(map(str, first["loc"]))
    start = f"{path}:{_line(root, first['loc'])}: {where or 'the file'}"
    if first["type"] == "extra_forbidden":
        return _unknown(f"{start}: key", str(first["loc"][-1]), _keys(first["loc"]))
    if first["type"] == "missing":
        return ExpectationError(f"{start} is missing")
    found = first["input"]
    shown = "" if isinstance(found, dict | BaseModel) or found is None else f" (found {found!r})"
    return ExpectationError(f"{start}: {first['msg'].removeprefix('Value error, ')}{shown}")


def _keys(location: tuple[int | str, ...]) -> tuple[str, ...]:
    model = Expectation if location[0] == "expect" else ExpectationFile
    return tuple(model.model_fields)


def _unknown(where: str, found: str, allowed: tuple[str, ...]) -> ExpectationError:
    close = difflib.get_close_matches(found, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ExpectationError(f"{where} {found!r} does not exist{hint} Allowed: {', '.join(allowed)}")


def _line(root: yaml.Node | None, location: Sequence[int | str]) -> int:
    """The line, from 1, of the innermost node of `location` that is in the file."""
    node = root
    line = 1
    for step in location:
        child = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == step:
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            child = node.value[step]
            line = child.start_mark.line + 1
        if child is None:
            break
        node = child
    return line
