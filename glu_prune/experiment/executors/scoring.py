"""From a model to the scores of a cell: the code that quality depends on, and whatever it imports."""

import gc
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import DENSE, Arm, Cell, DistanceCell, FloorCell
from glu_prune.experiment.code import SCORING, code_fingerprint, library_versions
from glu_prune.experiment.executors.arms import Arms, dequantized
from glu_prune.experiment.machine import accelerator, machine
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord, SizeRecord

if TYPE_CHECKING:
    from glu_prune.efficiency.evaluation_meter import EvaluationMeter
    from glu_prune.efficiency.meter import Window
    from glu_prune.evaluation.divergence import TaskDivergence
    from glu_prune.evaluation.result import TaskResult
    from glu_prune.progress.work import Step
    from glu_prune.pruning.plan import PruningPlan

Found = TypeVar("Found")


class Scorer:
    """Has models answer what cells ask, and scores the answers; loads each task once."""

    def __init__(self, progress: Callable[[str], None], step: "Step" = lambda *_: None) -> None:
        """`progress` is told where memory runs out, `step` how far answering is."""
        self._progress = progress
        self._step = step
        self._batch_sizes: dict[Hashable, int] = {}
        """What fits into memory, where the batch size asked for does not."""

    @cached_property
    def evaluator(self) -> Any:
        """Loads tasks and asks what is in them."""
        from glu_prune.evaluation.evaluate import Evaluator

        return Evaluator()

    def scores(
        self, cell: Cell, lm: Any, meter: Callable[[], "EvaluationMeter"]
    ) -> tuple[dict[str, "TaskResult"], "Window"]:
        """What `lm` scores on all tasks that are answered together with the cell's, and what answering cost.

        Each attempt has its own meter.

        Raises:
            EvaluationError: a task cannot be loaded or scored, or memory is too small for any batch.
        """

        def attempt() -> tuple[dict[str, "TaskResult"], "EvaluationMeter"]:
            metered = meter()
            lm.metered = metered.phase
            asked = (cell.tasks, cell.num_fewshot, cell.subset, cell.folder)
            return self.evaluator.evaluate_together(lm, *asked, chat=cell.settings.chat_template), metered

        with muted():
            found, metered = self.fitted(cell, (lm,), attempt)
        return found, metered.total

    def fitted(self, cell: Cell | DistanceCell, lms: Sequence[Any], attempt: Callable[[], Found]) -> Found:
        """What `attempt` gives, which has `lms` compute what `cell` asks.

        Where memory runs out, batches are half as large, for all arms that come later.

        Raises:
            EvaluationError: memory is too small for any batch, or computing failed.
        """
        what = replace(cell, arm=DENSE, fields=(), subset=None)
        with cell.settings.applied():
            while True:
                size = self._batch_sizes.get(what, cell.settings.batch_size)
                for lm in lms:
                    lm.limit(size)
                    lm.progress = partial(self._step, "items")
                try:
                    return attempt()
                except RuntimeError as error:
                    if size == 1 or not _out_of_memory(error):
                        msg = f"{cell}: {str(error).splitlines()[0]}"
                        raise EvaluationError(msg) from error
                self._progress(f"{cell}: out of memory in batches of {size}, again in batches of {size // 2}")
                self._batch_sizes[what] = size // 2
                _free_memory()

    def floors(self, cell: FloorCell) -> FloorRecord:
        """What the null models score on the cell's task.

        Raises:
            EvaluationError: the task cannot be loaded or scored.
        """
        from glu_prune.evaluation.chat import ChatTemplate
        from glu_prune.evaluation.floors import null_results

        chat = ChatTemplate(cell.chat) if cell.chat else None
        with muted():
            results = null_results(self.evaluator, cell.task, cell.num_fewshot, cell.folder, chat)
        first = next(iter(results.values()))
        return FloorRecord(
            key=cell.key,
            task=cell.task,
            versions=library_versions(),
            created=now(),
            code=code_fingerprint(SCORING),
            items=first.items,
            questions=first.questions,
            targets=first.targets,
            nulls={name: _scores(result) for name, result in results.items()},
        )


def lm_of(arms: Arms, arm: Arm) -> tuple[Any, SizeRecord]:
    """The LM through which the model of `arm` answers, and how large that is; all arms share plans and way of scoring.

    Raises:
        GluPruneError: the model cannot be loaded or pruned.
    """
    from glu_prune.evaluation.scorer import SharedPrefixLM

    def lm_for(model: Any) -> SharedPrefixLM:
        return SharedPrefixLM(model, arms.tokenizer, arms.settings.batch_size)

    with muted():
        if arms.dense.lm is None:
            arms.dense.lm = lm_for(arms.model)
        found = arms.prepared(arm)
        if found.lm is None:
            # A model of its own may be of another architecture, which has to show by itself what it can share.
            own = arm.source is not None
            found.lm = lm_for(found.model) if own else arms.dense.lm.sibling(found.model)
    return found.lm, _size(found.model, found.plan)


def record_of(cell: Cell, result: "TaskResult", size: SizeRecord) -> Record:
    """What is kept of the scores on the cell's task."""
    return Record(
        **said_of(cell, result, result.scoring_facts),
        versions=cell.versions,
        code=code_fingerprint(SCORING),
        outputs=result.outputs,
        margins=result.margins,
        lengths=result.lengths,
        flaws=result.flaws,
        near_ties=result.near_ties,
        answers=result.answers,
        truncated=result.truncated,
        metrics=_scores(result),
        positions=result.positions,
        scored_positions=result.scored_positions,
        size=size,
    )


def said_of(
    cell: Cell | DistanceCell, found: "TaskResult | TaskDivergence", scoring_facts: Mapping[str, str | int]
) -> dict[str, Any]:
    """What a record says of its cell and of the items in it, whatever was asked; `scoring_facts` join the settings."""
    return {
        "key": cell.key,
        "model": cell.source.name,
        "weights": cell.source.fingerprint,
        "arm": cell.arm.label,
        "task": cell.task,
        "settings": {**_settings(cell), **scoring_facts},
        "machine": machine(),
        "created": now(),
        "items": found.items,
        "fields": {name: tuple(_labels(each[name]) for each in found.documents) for name in cell.fields},
        "sources": found.sources,
    }


def _settings(cell: Cell | DistanceCell) -> dict[str, str | int]:
    """How the cell was run, as its record says it."""
    kind = accelerator(cell.settings)
    return {
        **cell.facts,
        **({"accelerator": kind} if kind else {}),
        **({"items": "a sample"} if local_data.is_sample(cell.task) else {}),
        **dequantized(cell.source, cell.settings),
    }


def now() -> str:
    """UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _size(model: Any, plan: "PruningPlan | None") -> SizeRecord:
    from glu_prune.pruning.blocks import find_blocks

    gate = find_blocks(model)[0].weights.gate
    return SizeRecord(
        parameters=sum(each.numel() for each in model.parameters()),
        bytes=sum(each.numel() * each.element_size() for each in model.parameters()),
        width=gate.shape[0],
        hidden=gate.shape[1],
        ties=0 if plan is None else plan.ties,
        plan="" if plan is None else plan.fingerprint,
    )


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; the CPU's allocator raises no error of its own kind."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    """Gives back what a failed attempt has left."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _labels(value: object) -> tuple[str, ...]:
    """A document's field as labels: one, or as many as it lists."""
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _scores(result: "TaskResult") -> dict[str, ScoreRecord]:
    return {name: ScoreRecord(**vars(scores)) for name, scores in result.metrics.items()}
