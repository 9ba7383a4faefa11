"""Where outcomes are read from: a store, a baseline, or logs of other harnesses, told apart by what they hold."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glu_prune.baseline import inspect_log, lighteval_log, lm_eval_log
from glu_prune.baseline.compare import Compared, compare, paired, refuse_incomparable, without_allowed
from glu_prune.baseline.file import load
from glu_prune.baseline.log import read_bytes
from glu_prune.baseline.names import Names
from glu_prune.baseline.outcome import Outcome, arm_name, band, comparable, known, outcome
from glu_prune.errors import BaselineError, StoreError, UnfinishedError
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.maintenance import records
from glu_prune.experiment.marker import CELLS, is_marked
from glu_prune.experiment.record import Record
from glu_prune.files import files_below

_ALLOWED = (
    "name a store folder, a baseline's JSON file, a results JSON of lm-eval with its samples or of lighteval with its "
    "details, a log of inspect, or a folder of such logs"
)
_LOG = re.compile(r".*\.eval|(results_|\d{4}-\d\d-\d\dT).*\.json", re.DOTALL)
"""How harnesses name what they write."""


def compared(before: Path, after: Path, margin: float = 0.0, allow_missing: Sequence[str] = ()) -> list[Compared]:
    """What `after` holds against `before`, outcome by outcome; what is called by one of `allow_missing` may be gone.

    Raises:
        BaselineError: one of them cannot be read, nothing can be compared, or nothing was called so.
    """
    found = without_allowed(compare(paired(outcomes(before), outcomes(after)), margin), allow_missing)
    refuse_incomparable(found)
    return found


def outcomes(place: Path) -> list[Outcome]:
    """What is scored in `place`.

    Raises:
        BaselineError: it is none of the kinds that can be read, cannot be trusted, or holds no score.
    """
    found = list(_from_folder(place) if place.is_dir() else _from_file(place))
    if not found:
        msg = f"{place} holds no scores; {_ALLOWED}"
        raise BaselineError(msg)
    return found


def _from_folder(folder: Path) -> Iterator[Outcome]:
    """Of a store, or of the logs below it: of several about the same thing, that which is the last by its name counts.

    Names begin with the time. A run that did not end well was finished where there is a log of another of its task.
    """
    if (folder / CELLS).exists() or is_marked(folder):
        return _from_store(folder)
    last: dict[object, Outcome] = {}
    unfinished = []
    for path in sorted(filter(_is_log, files_below(folder)), key=lambda path: (path.name, path)):
        try:
            found = list(_from_file(path))
        except UnfinishedError as error:
            unfinished.append(error)
            continue
        last |= {(each.about.key, tuple(sorted(each.about.comparable.items()))): each for each in found}
    done = {(each.about.model, each.about.task) for each in last.values()}
    if (left := next((error for error in unfinished if error.about not in done), None)) is not None:
        raise left
    return iter(last.values()) if last else _from_store(folder)


def _is_log(path: Path) -> bool:
    return _LOG.fullmatch(path.name) is not None and path.is_file()


def _from_file(path: Path) -> Iterator[Outcome]:
    """Of a baseline, or of a log."""
    if path.suffix == ".eval":
        return iter(inspect_log.from_eval(path))
    content = _json(path)
    if inspect_log.is_inspect(content):
        return iter(inspect_log.from_json(path, content))
    if lighteval_log.is_lighteval(content):
        return lighteval_log.from_results(path, content)
    return lm_eval_log.from_results(path, content) if "results" in content else iter(load(path).outcomes)


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; {_ALLOWED}"
        raise BaselineError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is no JSON: {str(error).splitlines()[0]}; {_ALLOWED}"
        raise BaselineError(msg) from error
    if not isinstance(content, dict) or not (
        {"results", "outcomes"} & content.keys() or inspect_log.is_inspect(content)
    ):
        msg = f"{path} has neither `outcomes`, as a baseline, nor `results`, as logs; {_ALLOWED}"
        raise BaselineError(msg)
    return content


def _from_store(folder: Path) -> Iterator[Outcome]:
    """The newest outcome of each thing that was asked in one way, with the noise band if its model answered twice."""
    try:
        scores = (each for each in records(folder, (Record,)) if isinstance(each, Record))
        found = sorted(scores, key=lambda record: record.created)
    except StoreError as error:
        msg = f"{error}; `glu-prune store verify` names all that is damaged"
        raise BaselineError(msg) from error
    names = Names.beside(folder)
    newest = {_thing(names, record, record.arm): record for record in found if not _is_second(record)}
    seconds = {_question(record): record for record in found if _is_second(record)}
    for record in newest.values():
        one = newest.get(_thing(names, record, DENSE.label))
        other = seconds.get(_question(one)) if one else None
        for capability in known(record.task, tuple(record.metrics)):
            noise = band(one, other, capability.metric) if one and other else None
            yield outcome(record, names.read(record.model), capability, band=noise)


def _thing(names: Names, record: Record, arm: str) -> tuple[Any, ...]:
    """What `record` is about; of the dense model, if that is the `arm`."""
    named = arm_name(arm, record.settings.get("seed")) if arm == record.arm else arm
    return names.read(record.model), named, record.task, *sorted(comparable(record).items())


def _is_second(record: Record) -> bool:
    """Whether it answers a second time, for a noise band."""
    return "threads" in record.settings


def _question(record: Record) -> tuple[object, ...]:
    """All but the way of computing: what differs between two answers to it is noise, and no other model or code."""
    settings = {name: each for name, each in record.settings.items() if name not in ("batch_size", "threads")}
    versions = tuple(sorted(record.versions.items()))
    return record.weights, record.arm, record.task, record.code, record.items, tuple(sorted(settings.items())), versions
