"""An expectation file as text: from YAML to the typed experiment, and from a place in it to its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from glu_prune.errors import ExpectationError, did_you_mean, invalid, shown
from glu_prune.judgement.arms import DeclaredArm
from glu_prune.judgement.declared import Declared
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds import CLAIMS
from glu_prune.judgement.kinds.evidence import Flaw
from glu_prune.judgement.yaml_file import compose

Location = Sequence[int | str]
"""Keys and positions from the top of the file, such as ("expect", 0, "ratios")."""


_LONGEST = 2000
"""Characters of a complaint, which a file may fill with its own."""


@dataclass(frozen=True)
class Document:
    """A YAML file and where everything in it stands."""

    path: Path
    root: yaml.Node | None

    def line(self, location: Location) -> int:
        """The line, from 1, of the innermost node of `location` that is in the file."""
        node = self.root
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

    def error(self, location: Location, complaint: str) -> ExpectationError:
        """`complaint` about what is at `location`."""
        return ExpectationError(f"{self.path}:{self.line(location)}: {complaint[:_LONGEST]}")

    def unknown(self, location: Location, what: str, found: str, allowed: Sequence[str]) -> ExpectationError:
        """`found` at `location` is no `what`."""
        hint = did_you_mean(found, allowed) or "."
        return self.error(location, f"{what} {shown(found)} does not exist{hint} Allowed: {', '.join(allowed)}")


def load(path: Path) -> tuple[Document, Experiment]:
    """The file and what it says.

    Raises:
        ExpectationError: the file is missing, no YAML, or says something that is not allowed.
    """
    try:
        root = compose(path)
        data = None if root is None else yaml.SafeLoader("").construct_document(root)
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise ExpectationError(msg) from error
    except (yaml.YAMLError, ValueError) as error:  # a ValueError: a date or a number that is none
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        msg = f"{path}{line}: not YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}"
        raise ExpectationError(msg) from error
    document = Document(path, root)
    if (repeated := _repeated_key(root)) is not None:
        msg = f"{path}:{repeated.start_mark.line + 1}: key {repeated.value!r} occurs a second time in the same place"
        raise ExpectationError(msg)
    try:
        return document, Experiment.model_validate(data)
    except ValidationError as error:
        raise _explain(document, error) from error


def _repeated_key(node: yaml.Node | None) -> yaml.Node | None:
    """The first key that a mapping has twice, of which YAML would drop the first without a word."""
    if isinstance(node, yaml.SequenceNode):
        return next((found for each in node.value if (found := _repeated_key(each)) is not None), None)
    if not isinstance(node, yaml.MappingNode):
        return None
    seen = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (means := yaml.SafeLoader("").construct_document(key)) in seen:  # 0.5 and 0.50 are one key
                return key
            seen.add(means)
        if (found := _repeated_key(value)) is not None:
            return found
    return None


def _explain(document: Document, error: ValidationError) -> ExpectationError:
    """One complaint of pydantic, in one line, with the line of the file; a misspelt key rather than the missing one."""
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    location, kind = _in_file(first["loc"])
    where = ".".join(map(str, location)) or "the file"
    if first["type"] == "extra_forbidden":
        return document.unknown(location, f"{where}: key", str(first["loc"][-1]), _keys(location, kind))
    if first["type"] == "missing":
        return document.error(location, f"{where} is missing")
    found = first["input"]
    nothing = found is None and "missing or empty"
    as_found = "" if isinstance(found, dict | BaseModel) else f" (found {nothing or shown(found)})"
    return document.error(location, f"{where}: {invalid(first)}{as_found}")


def _in_file(location: tuple[int | str, ...]) -> tuple[tuple[int | str, ...], str | None]:
    """`location` without the steps that pydantic adds for alternatives, and the kind of claim it is in."""
    kind = None
    if len(location) > 2 and location[0] == "expect":
        kind = str(location[2])
        location = (*location[:2], *location[3:])
    return tuple(step for step in location if "[" not in str(step)), kind


def _keys(location: tuple[int | str, ...], kind: str | None) -> tuple[str, ...]:
    within: dict[str, type[BaseModel]] = {"flaws": Flaw, "capabilities": Declared, "arms": DeclaredArm}
    inner = within.get(str(location[0])) if len(location) > 1 else None
    model = CLAIMS[kind] if kind else inner or Experiment
    return tuple(model.model_fields)
