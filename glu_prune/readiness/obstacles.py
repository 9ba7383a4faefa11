"""What would stop a run hours after it began, found before a model loads."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace

from glu_prune.errors import EvaluationError, NotReadyError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.evaluate import is_embedded
from glu_prune.experiment.cell import Settings
from glu_prune.judgement.expectation import Case
from glu_prune.readiness.asked import Asked, asked_by
from glu_prune.readiness.data import items, sentences
from glu_prune.readiness.host import device
from glu_prune.readiness.models import attention, memory, model, pruning
from glu_prune.readiness.need import Need
from glu_prune.readiness.network import is_offline

_PATIENCE = 10.0
"""Seconds in which the hub has to answer."""


def refuse_obstacles(cases: Sequence[Case], settings: Settings) -> None:
    """Looks for what `cases`, which are to be run, cannot do without.

    Raises:
        NotReadyError: a model is not whole or cannot be pruned as asked, its attention or device not there, memory too
            small, or data neither here nor to be fetched; it says what mends it.
    """
    found = [each for each in _missing(asked_by(cases), settings) if each.missing]
    if found:
        lines = (f"{each.what}: {each.detail}" + (f"; {each.remedy}" if each.remedy else "") for each in found)
        raise NotReadyError("; ".join(lines))


def _missing(wanted: Asked, settings: Settings) -> Iterator[Need]:
    for each in wanted.models:
        yield (found := model(each, answers=bool(wanted.tasks)))
        if settings.attention and not found.missing:
            yield attention(each, settings.attention)
        if each.arms and not found.missing and (cut := pruning(each, settings.dtype)) is not None:
            yield cut
    if not (settings.backend or settings.device_map):
        yield device(settings.device)
        yield from (room for each in wanted.models if (room := memory(each, settings)) is not None)
    tasks = [task for task in wanted.tasks if not is_embedded(task)]
    yield from (need for task in tasks if local_data.serves(task) and not _some(task) for need in _absent(task))
    fetched = [need for task in tasks if not local_data.serves(task) for need in _absent(task)]
    why = None if is_offline() or not fetched else _unreached()
    if why or is_offline():
        yield from (replace(need, detail=", and ".join(filter(None, (need.detail, why)))) for need in fetched)


def _absent(task: str) -> Iterator[Need]:
    """What is not here of the data of `task`."""
    return (each for each in (items(task), *sentences(task)) if each.missing)


def _some(task: str) -> bool:
    """Whether the data folder has items of every split of `task`, as a sample has."""
    try:
        return all(split.items for split in local_data.splits(task) or ())
    except EvaluationError:
        return False


def _unreached() -> str | None:
    """Why the Hugging Face hub cannot be reached; None if it can."""
    from huggingface_hub import constants

    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        return None  # it answers
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT} cannot be reached: {error}"
    return None
