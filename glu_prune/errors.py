"""Every error this package raises on purpose. Each message says what was found, what is allowed, and how to mend it.

GluPruneError
├── ExpectationError      an expectation file cannot be used
├── UnsupportedModelError the model has no GLU block that can be pruned
├── PlanError             a pruning plan cannot be made, read, or applied to this model
├── CheckpointError       a model folder cannot be written or read
├── ModelNotFoundError    the weights of a model are not on this machine
├── ContractError         a property of pruning does not hold
├── EvaluationError       a task gave no usable scores
├── MeterError            an energy reading cannot be true
│   ├── NotMeasuredError  nothing is measured here, and why
│   └── ShortWindowError  work ended too soon to be measured
├── WorkloadError         a workload cannot be measured on this model
├── StoreError            the store cannot be used, or not for this
│   └── CorruptError      a stored record cannot be trusted
├── BaselineError         a baseline, or what is to be compared, cannot be used
│   └── UnfinishedError   a log is that of a run that did not end well
├── NotReadyError         something is missing that a run cannot do without
├── ReportError           a table cannot show what it is to show
└── ProjectError          the files of a project cannot be written
"""

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST = 200
"""Characters of a value in a message."""
_LONGEST_LINE = 500
"""Characters of what another library says in one."""


def shown(value: object) -> str:
    """`value` as Python writes it, for a message: its beginning if that is long."""
    try:
        text = repr(value)
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def first_line(error: BaseException) -> str:
    """The kind of an error that is not ours, and its first line: the beginning of it if that is long."""
    line = next(iter(str(error).strip().splitlines()), "")
    said = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
    return f"{type(error).__name__}: {said}" if said else shown(error)


_ALLOWED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), "it is a mapping, `a: b`"),
    **dict.fromkeys(("tuple_type", "list_type"), "it is a list, `[a, b]`"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "it is a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "it is a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "it is true or false"),
    "finite_number": "it is a finite number",
    "string_type": "it is a text",
    "string_too_short": "it is a text of at least {min_length} characters",
    "string_too_long": "it is a text of at most {max_length} characters",
    "string_pattern_mismatch": "it is a text like {pattern}",
    "too_short": "it has at least {min_length} items",
    "too_long": "it has at most {max_length} items",
    "greater_than": "it is above {gt}",
    "greater_than_equal": "it is at least {ge}",
    "less_than": "it is below {lt}",
    "less_than_equal": "it is at most {le}",
    "literal_error": "it is {expected}",
}
"""What pydantic complains of, by its name for that, to what is allowed, in the words of files."""


def invalid(complaint: Mapping[str, Any]) -> str:
    """What one of pydantic's complaints means, in the words of whoever wrote the file."""
    if (allowed := _ALLOWED.get(complaint["type"])) is None:
        return str(complaint["msg"]).removeprefix("Value error, ")
    bounds: Mapping[str, Any] = complaint.get("ctx") or {}
    return allowed.format_map({key: f"{of:g}" if isinstance(of, float) else of for key, of in bounds.items()})


def did_you_mean(found: str, allowed: Iterable[str], most: int = 1) -> str:
    """`; did you mean 'vllm'?` with the nearest of `allowed` names, at most so many; nothing if none is near."""
    from difflib import get_close_matches

    close = get_close_matches(found[:_LONGEST], allowed, most)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class GluPruneError(Exception):
    """The base of all errors of this package."""


class ExpectationError(GluPruneError):
    """An expectation file cannot be used."""


class UnsupportedModelError(GluPruneError):
    """The model has no GLU block that can be pruned."""


class PlanError(GluPruneError):
    """A pruning plan cannot be made, read, or applied to this model."""


class CheckpointError(GluPruneError):
    """A model folder cannot be written or read."""


class ModelNotFoundError(GluPruneError):
    """The weights of a model are not on this machine."""


class ContractError(GluPruneError):
    """A property of pruning does not hold."""


class EvaluationError(GluPruneError):
    """A task gave no usable scores."""


class MeterError(GluPruneError):
    """An energy reading cannot be true."""


class NotMeasuredError(MeterError):
    """Nothing is measured here, and why."""


class ShortWindowError(MeterError):
    """Work ended too soon to be measured; more of it can be."""


class WorkloadError(GluPruneError):
    """A workload cannot be measured on this model."""


class StoreError(GluPruneError):
    """The store cannot be used, or not for this."""


class CorruptError(StoreError):
    """A stored record cannot be trusted."""


class BaselineError(GluPruneError):
    """A baseline, or what is to be compared, cannot be used."""


class UnfinishedError(BaselineError):
    """A log is that of a run that did not end well."""

    def __init__(self, message: str, about: tuple[str, str]) -> None:
        """`about`: the model and the task of the run."""
        super().__init__(message)
        self.about = about


class NotReadyError(GluPruneError):
    """Something is missing that a run cannot do without."""


class ReportError(GluPruneError):
    """A table cannot show what it is to show."""


class ProjectError(GluPruneError):
    """The files of a project cannot be written."""
