"""What a report says of the model in a folder, as a section of its card and as metadata that the hub reads."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.clean import markdown, one_line
from glu_prune.errors import EvaluationError, ReportError, first_line
from glu_prune.files import write_whole
from glu_prune.report.choices import certificate
from glu_prune.report.formats.markdown import headed
from glu_prune.report.tables import notes
from glu_prune.results.costs import CellResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

UNKNOWN = "What the model can still do is not known from this card: measure it."
_BEGIN, _END = "<!-- glu-prune: evidence -->", "<!-- /glu-prune: evidence -->"
_SECTION = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}\n?", re.DOTALL)
_CERTIFICATE = "## Certificate"
_CHAT = " (chat)"
_OF_ARMS = ("scores", "distances", "costs", "efficiency", "energy")
_TABLES = (*_OF_ARMS, "evaluations")
"""What a card shows, in the order in which reports do."""
SOURCE = "glu-prune, by lm-evaluation-harness"
"""By which our entries are told from those of others when the card is written again."""
_HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"


def marked(text: str) -> str:
    """`text` as the section that is exchanged when there is evidence."""
    return f"{_BEGIN}\n{text}\n{_END}\n"


def judged_as(folder: Path, report: Report) -> list[CellResult]:
    """What the model in `folder` answered in `report`: itself, or as an arm that was cut in memory as its plan says.

    Raises:
        ReportError: it answered nothing there.
        CheckpointError: it is not what its plan leaves of the model that answered.
        GluPruneError: that model, the plan or the weights cannot be read.
    """
    from glu_prune.pruning.checkpoint import PLAN_FILE, folder_digest
    from glu_prune.pruning.plan import PruningPlan

    weights = folder_digest(folder)
    if itself := [cell for cell in report.cells if cell.weights == weights and not cell.size.plan]:
        return itself
    plan = PruningPlan.read(folder / PLAN_FILE) if (folder / PLAN_FILE).is_file() else None
    cut = [cell for cell in report.cells if plan and cell.weights and cell.size.plan == plan.fingerprint]
    if plan is None or not cut:
        msg = (
            f"nothing in it is about {folder}: it did not answer itself, and no arm keeps the neurons of its plan; "
            f"`glu-prune judge {folder} --against MODEL --out DIR` has it answer"
        )
        raise ReportError(msg)
    for name, dense in dict.fromkeys((cell.source or cell.model.removesuffix(_CHAT), cell.weights) for cell in cut):
        _refuse_another(folder, plan, name, dense)
    return cut


def _refuse_another(folder: Path, plan: Any, name: str, weights: str) -> None:
    """Raises unless `folder` is what `plan` leaves of the model `name` with these weights."""
    from glu_prune.models.source import locate
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.pruning.origin import refuse_another

    source = locate(name)
    if source.fingerprint != weights:
        msg = f"the {name} that is here is not the one that answered; its files have changed since"
        raise ReportError(msg)
    refuse_another(folder, plan, open_disk_model(source.folder))


def write_evidence(folder: Path, report: Report) -> list[CellResult]:
    """Puts what `report` says of the model in `folder` into its card, in the place of what was there; whose it is.

    Raises:
        GluPruneError: as `judged_as`, or the card or the results cannot be used.
        OSError: the card cannot be written.
    """
    cells = judged_as(folder, report)
    mine = _of(cells, report)
    card = _card(folder)
    kept = [each for each in card.data.eval_results or [] if each.source_name != SOURCE]
    card.data.model_name = card.data.get("model_name") or folder.resolve().name
    card.data.eval_results = [*kept, *eval_results(cells)]
    body = _SECTION.sub("", card.text).rstrip()
    promised = "" if _CERTIFICATE in body else "\n".join(certificate(each, pinned=False) for each in mine.choices)
    card.text = f"{body}\n\n{marked(_section(cells, mine) + promised)}"
    write_whole(folder / "README.md", str(card))
    return cells


def _card(folder: Path) -> Any:
    """The card in `folder`, or a new one.

    Raises:
        ReportError: it cannot be read.
    """
    import yaml
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    text = path.read_text(encoding="utf-8") if path.exists() else f"# {markdown(folder.resolve().name)}\n"
    try:
        return ModelCard(text if text.lstrip().startswith("---") else f"---\n\n---\n{text}")
    except (ValueError, TypeError, yaml.YAMLError) as error:
        msg = f"{path} cannot be read as a model card: {first_line(error)}; mend the YAML between its first two ---"
        raise ReportError(msg) from error


def _of(cells: Iterable[CellResult], report: Report) -> Report:
    """What `report` says of the arms of `cells`.

    Raises:
        ReportError: rows do not tell which of several arms they are about.
    """
    labels = {(cell.model, cell.arm) for cell in cells}
    places = {(cell.model, cell.ratio, cell.named) for cell in cells}
    plans = {cell.size.plan for cell in cells}
    there = [cell for cell in report.cells if not cell.control and (cell.model, cell.ratio, cell.named) in places]
    if other := next((cell for cell in there if cell.size.plan not in plans), None):
        msg = (
            f"two prunings in it are called {other.model} at {other.at}, so that rows do not tell which they are about "
            f"({other.arm} is another); name results of one expectation file"
        )
        raise ReportError(msg)
    rows = {
        name: tuple(row for row in getattr(report, name) if (row.model, row.ratio, row.named) in places)
        for name in (*_OF_ARMS, "cells")
    }
    shown = {*labels, *((model, "dense") for model, _ in labels)}
    costs = tuple(row for row in report.evaluations if (row.model, row.arm) in shown)
    chosen = tuple(row for row in report.choices if (row.model, row.chosen) in labels)
    return Report().model_copy(update={**rows, "evaluations": costs, "choices": chosen})


def _section(cells: Iterable[CellResult], mine: Report) -> str:
    whose = ", ".join(dict.fromkeys(markdown(f"{cell.arm} ({cell.model})") for cell in cells))
    tables = "".join(f"### {heading}\n\n{table}\n\n" for heading, table in headed(mine, _TABLES))
    read = "".join(f"- {markdown(note)}\n" for note in notes(mine))
    how = f"Judged by glu-prune {version('glu-prune')} as {whose}; scores are those of lm-eval {version('lm-eval')}."
    return f"## Evidence\n\n{how}\n\n{tables}{read}"


def eval_results(cells: Iterable[CellResult]) -> "list[EvalResult]":
    """Each score as an entry of `model-index`; none of a task that was answered in pieces, no one of which is all."""
    every = list(cells)
    pieces = Counter((cell.model, cell.task) for cell in every)
    return [found for cell in every if pieces[cell.model, cell.task] == 1 for found in _entries(cell)]


def _entries(cell: CellResult) -> "Iterator[EvalResult]":
    from huggingface_hub import EvalResult

    path, config = _dataset(cell.task)
    chat = _CHAT if cell.model.endswith(_CHAT) else ""
    for metric, found in cell.scores.items():
        if not math.isfinite(found.score):
            continue
        asked = {"items": cell.prompts, "part": cell.subset or None, "dtype": cell.dtype, "stderr": found.error}
        yield EvalResult(
            task_type="text-generation",
            dataset_type=path,
            dataset_name=path if config is None else f"{path} ({config})",
            dataset_config=config,
            metric_type=metric,
            metric_name=one_line(f"{cell.task}, {metric}{chat}"),
            metric_value=found.score,
            metric_args={name: value for name, value in asked.items() if value is not None},
            source_name=SOURCE,
            source_url=_HARNESS,
        )


def _dataset(task: str) -> tuple[str, str | None]:
    """The dataset of an lm-eval task and its configuration, as the hub calls them; of any other its own name."""
    from glu_prune.evaluation.evaluate import is_embedded
    from glu_prune.evaluation.lm_eval_tasks import datasets_of

    try:
        found = () if is_embedded(task) else datasets_of(task)
    except EvaluationError:
        found = ()
    return (found[0].path, found[0].name if len(found) == 1 else None) if found else (task, None)
