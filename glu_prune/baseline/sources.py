"""Where outcomes are read from: a store, a baseline, or what lm-eval wrote, told apart by what they hold."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glu_prune.baseline.compare import Compared, compare, paired, refuse_incomparable, without_allowed
from glu_prune.baseline.file import load
from glu_prune.baseline.names import Names
from glu_prune.baseline.outcome import About, Fact, Outcome, arm_name, band, comparable, known, outcome
from glu_prune.errors import BaselineError, EvaluationError, StoreError, first_line
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.maintenance import records
from glu_prune.experiment.record import Record
from glu_prune.files import regular

_ALLOWED = "name a store folder, a baseline's JSON file, or a results JSON of lm-eval with its samples beside it"


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
    if place.is_dir():
        found = list(_from_store(place))
    else:
        content = _json(place)
        found = list(_from_lm_eval(place, content) if "results" in content else load(place).outcomes)
    if not found:
        msg = f"{place} holds no scores; {_ALLOWED}"
        raise BaselineError(msg)
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(regular(path).read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; {_ALLOWED}"
        raise BaselineError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is no JSON: {str(error).splitlines()[0]}; {_ALLOWED}"
        raise BaselineError(msg) from error
    if not isinstance(content, dict) or not {"results", "outcomes"} & content.keys():
        msg = f"{path} has neither `outcomes`, as a baseline, nor `results`, as lm-eval's; {_ALLOWED}"
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
    seconds = {_thing(names, record, record.arm): record for record in found if _is_second(record)}
    for record in newest.values():
        dense = _thing(names, record, DENSE.label)
        one, other = newest.get(dense), seconds.get(dense)
        answered = (one, other) if one and other and one.items == other.items else None
        for capability in known(record.task, tuple(record.metrics)):
            noise = band(*answered, capability.metric) if answered else None
            yield outcome(record, names.read(record.model), capability, band=noise)


def _thing(names: Names, record: Record, arm: str) -> tuple[Any, ...]:
    """What `record` is about; of the dense model, if that is the `arm`."""
    named = arm_name(arm, record.settings.get("seed")) if arm == record.arm else arm
    return names.read(record.model), named, record.task, *sorted(comparable(record).items())


def _is_second(record: Record) -> bool:
    """Whether it answers a second time, for a noise band."""
    return "threads" in record.settings


def _from_lm_eval(path: Path, content: Mapping[str, Any]) -> Iterator[Outcome]:
    """Each task, and each group of tasks, that has samples, by each metric that they give item by item.

    Raises:
        BaselineError: the samples are not what lm-eval writes.
    """
    stamp = path.stem.rpartition("_")[2]
    model = str(content.get("model_name") or path.parent.name)
    files = {
        each.stem.removeprefix("samples_").removesuffix(f"_{stamp}"): each
        for each in sorted(path.parent.glob("samples_*.jsonl"))
        if each.stem.endswith(f"_{stamp}")
    }
    try:
        samples = {task: _lines(file) for task, file in files.items()}
        for task, reported in content["results"].items():
            leaves = list(_leaves(task, content.get("group_subtasks") or {}))
            if samples.keys() >= set(leaves):
                yield from _of_task(model, task, reported, leaves, samples, _shots(content, leaves))
    except BaselineError:
        raise
    except Exception as error:  # anything may be in these files, anywhere
        what = f"{path}, or samples beside it, is not what lm-eval writes"
        msg = f"{what}: {first_line(error)}; run it again with --log_samples"
        raise BaselineError(msg) from error


def _leaves(task: str, groups: Mapping[str, Any]) -> Iterator[str]:
    """The tasks of a group, or the task itself."""
    if not groups.get(task):
        yield task
        return
    for each in groups[task]:
        yield from _leaves(each, groups)


def _shots(content: Mapping[str, Any], leaves: Sequence[str]) -> dict[str, Fact]:
    """How many worked examples were shown, if that is said and the same in all tasks."""
    first, *others = {(content.get("n-shot") or {}).get(leaf) for leaf in leaves}
    return {"num_fewshot": first} if isinstance(first, int) and not others else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = regular(path).read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise BaselineError(msg) from error
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _of_task(
    model: str,
    task: str,
    reported: Mapping[str, Any],
    leaves: Sequence[str],
    samples: Mapping[str, list[dict[str, Any]]],
    comparable: Mapping[str, Fact],
) -> Iterator[Outcome]:
    """By the first of the task's filters; a metric whose items do not make up its score is left out."""
    from glu_prune.evaluation.result import item_of, metric_of, samples_of
    from glu_prune.evaluation.shared_sources import shared_sources

    first = samples_of(task, leaves, samples)
    scores = {}
    for metric in first[0][1]["metrics"]:
        try:
            score = float(reported[f"{metric},{first[0][1]['filter']}"])
            scores[metric] = metric_of(task, metric, score, [sample[metric] for _, sample in first])
        except (KeyError, TypeError, ValueError, EvaluationError):  # a score of a whole corpus, not of items
            continue
    items = tuple(item_of(*each) for each in first)
    shared = shared_sources({task: [sample["doc"] for _, sample in first]})
    for capability in known(task, tuple(scores)):
        found = scores[capability.metric]
        field = capability.cluster
        labels = tuple(str(sample["doc"][field]) for _, sample in first) if field else tuple(shared.values()) or None
        about = About(
            model=model,
            arm=DENSE.label,
            capability=capability.name,
            task=task,
            metric=capability.metric,
            higher_is_better=capability.higher_is_better,
            score=found.score,
            n=len(items),
            comparable=comparable,
        )
        yield Outcome(about, items, found.values, found.weights, labels)
