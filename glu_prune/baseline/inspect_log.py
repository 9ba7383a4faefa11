"""What inspect-ai logs: a `.eval` file, which is a ZIP archive of JSON files, or one `.json` file.

They are read here, and not by `inspect_ai.log`: that takes seconds to import and brings fifty packages, which those who
compare logs need not have. Source: inspect_ai/log/_log.py and _recorders/eval.py of inspect-ai 0.3.285.
"""

import hashlib
import json
import math
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from glu_prune.baseline.log import HARNESS, Document, LoggedTask, facts, written_by
from glu_prune.baseline.outcome import Fact, Outcome
from glu_prune.baseline.zipped import Archive
from glu_prune.errors import BaselineError, UnfinishedError, shown

_AGAIN = "copy it again, or run it again"
_SAMPLE = re.compile(r"samples/.*\.json", re.DOTALL)
_OF_ONE_RUN = ("id", "source", "model")
"""Entries of a message that say nothing about what is asked."""
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""Correct, partially so, incorrect, no answer; as `inspect_ai.scorer.value_to_float` has them."""

Scores = Mapping[str, float | str]
"""Scorer, and the key of its value if it gives several, to an item's score in an epoch: a text where that is none."""


def is_inspect(content: Mapping[str, Any]) -> bool:
    """Whether JSON is such a log."""
    return {"eval", "status"} <= content.keys()


def from_eval(path: Path) -> list[Outcome]:
    """The outcomes in a `.eval` file.

    Raises:
        UnfinishedError: the run did not end well.
        BaselineError: it is none, or holds no samples.
    """
    with written_by("inspect", path, _AGAIN), closing(Archive(path)) as archive:
        samples = (json.loads(archive.read(name)) for name in archive.names if _SAMPLE.fullmatch(name))
        return _outcomes(path, _header(archive), samples)


def from_json(path: Path, content: Mapping[str, Any]) -> list[Outcome]:
    """The outcomes in the content of a `.json` file; raises as `from_eval`."""
    with written_by("inspect", path, _AGAIN):
        return _outcomes(path, content, content.get("samples") or ())


def _header(archive: Archive) -> Mapping[str, Any]:
    """What is known of the run: while it goes on, how it was started."""
    if "header.json" in archive.names:
        found: Mapping[str, Any] = json.loads(archive.read("header.json"))
        return found
    if "_journal/start.json" in archive.names:
        return {**json.loads(archive.read("_journal/start.json")), "status": "started"}
    msg = "it has no header.json"
    raise zipfile.BadZipFile(msg)


def _outcomes(path: Path, header: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> list[Outcome]:
    _refuse_unfinished(path, header)
    documents, scores = _by_item(samples)
    if not documents:
        msg = f"{path} holds no samples; run it again without --no-log-samples"
        raise BaselineError(msg)
    run = header["eval"]
    logged = LoggedTask(
        str(run["model"]), str(run["task"]), documents, _asked(header), {**_computed(header), **_versions(run)}
    )
    found = []
    for scorer in dict.fromkeys(name for epochs in scores for each in epochs for name in each):
        if values := _means(scorer, scores):
            mean = math.fsum(values.values()) / len(values)
            found.append(logged.outcome(scorer, mean, values, higher_is_better=True))
    if not found:
        msg = f"{path}: none of its scorers gives a number, or one of {', '.join(_GRADES)}"
        raise BaselineError(msg)
    return found


def _refuse_unfinished(path: Path, header: Mapping[str, Any]) -> None:
    run, status = header["eval"], header["status"]
    why = f"has the status {shown(status)}" if status != "success" else "was invalidated"
    if status == "success" and not header.get("invalidated"):
        return
    msg = f"{path}: its run {why}, so that its items are not all of them; `inspect eval-retry` finishes it"
    raise UnfinishedError(msg, (str(run["model"]), str(run["task"])))


def _by_item(samples: Iterable[Mapping[str, Any]]) -> tuple[list[Document], list[list[Scores]]]:
    """What each item asks, and its scores in each epoch, in the order of ids."""
    found: dict[str, tuple[Document, list[Scores]]] = {}
    for sample in samples:
        document = {name: _said(sample.get(name)) for name in ("input", "choices", "target")}
        _, epochs = found.setdefault(str(sample["id"]), (document, []))
        epochs.append(dict(_scores(sample.get("scores") or {})))
    ordered = [found[name] for name in sorted(found, key=lambda name: (len(name), name))]
    return [document for document, _ in ordered], [epochs for _, epochs in ordered]


def _said(value: Any) -> Any:
    """What is asked, without what is another in each run."""
    if isinstance(value, list):
        return [_said(each) for each in value]
    if isinstance(value, dict):
        return {name: _said(each) for name, each in value.items() if name not in _OF_ONE_RUN}
    return value


def _scores(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, float | str]]:
    """Each score; one that is NaN, or none, says that the item was not scored."""
    for scorer, score in found.items():
        value = score["value"]
        several = dict(enumerate(value)) if isinstance(value, list) else value
        for key, each in several.items() if isinstance(several, dict) else [("", value)]:
            number = _number(each)
            if isinstance(number, str) or math.isfinite(number):
                yield f"{scorer}/{key}" if key != "" else scorer, number


def _number(value: Any) -> float | str:
    """A score as inspect's metrics see it, or the text that is none."""
    if not isinstance(value, str):
        return math.nan if value is None else float(value)
    if (grade := _GRADES.get(value, _GRADES.get(value.lower()))) is not None:
        return grade
    try:
        return float(value)
    except ValueError:
        return value


def _means(scorer: str, scores: Iterable[Sequence[Scores]]) -> dict[int, float]:
    """By the place of an item the mean of its epochs; empty if the scorer gives texts alone."""
    found = {place: [each[scorer] for each in epochs if scorer in each] for place, epochs in enumerate(scores)}
    if all(isinstance(value, str) for values in found.values() for value in values):
        return {}
    return {place: math.fsum(map(_or_zero, values)) / len(values) for place, values in found.items() if values}


def _or_zero(value: float | str) -> float:
    """What inspect takes a text for that is no score, where others are."""
    return 0.0 if isinstance(value, str) else value


def _asked(header: Mapping[str, Any]) -> dict[str, Fact]:
    """What must be equal: the version of the task, its solvers with their parameters, and where answers are cut."""
    plan, run = header.get("plan") or {}, header["eval"]
    steps = [(step["solver"], step.get("params_passed", step.get("params")) or {}) for step in plan.get("steps") or ()]
    given = hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()[:8]
    found = {"task_version": run.get("task_version"), "answer_limit": _config(header).get("max_tokens")}
    return facts({"solvers": f"{', '.join(str(name) for name, _ in steps)} ({given})", **found})


def _config(header: Mapping[str, Any]) -> dict[str, Any]:
    """How answers were generated: as the task says, but for what the run says."""
    configs = ((header.get("plan") or {}).get("config"), header["eval"].get("model_generate_config"))
    return {name: value for each in configs for name, value in (each or {}).items() if value is not None}


def _computed(header: Mapping[str, Any]) -> dict[str, Fact]:
    """What may differ, and is named where it does."""
    epochs = (header["eval"].get("config") or {}).get("epochs") or 1
    return facts({**{name: value for name, value in _config(header).items() if name != "max_tokens"}, "epochs": epochs})


def _versions(run: Mapping[str, Any]) -> dict[str, Fact]:
    return {HARNESS: f"inspect-ai {(run.get('packages') or {}).get('inspect_ai', '')}".strip()}
