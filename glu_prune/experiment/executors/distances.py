"""From two models to how far one is from the other: the code that distances depend on, and whatever it imports."""

from typing import Any

from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import DistanceCell
from glu_prune.experiment.code import DISTANCES, code_fingerprint, library_versions
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.executors.scoring import Scorer, said_of


def distance_of(cell: DistanceCell, scorer: Scorer, reference: Any, other: Any) -> DistanceRecord:
    """How far the LM `other` is from the LM `reference` on the cell's task.

    Raises:
        EvaluationError: the task cannot be loaded, a divergence is not finite, or memory is too small for any batch.
    """
    from glu_prune.evaluation.chat import ChatTemplate
    from glu_prune.evaluation.divergence import task_divergence

    chat = ChatTemplate(cell.source) if cell.settings.chat_template else None
    asked = (cell.task, cell.num_fewshot, cell.subset, cell.folder, chat)
    with muted():
        models = (reference, other)
        found = scorer.fitted(cell, models, lambda: task_divergence(scorer.evaluator, models, *asked))
    return DistanceRecord(
        **said_of(cell, found, {}),
        versions=library_versions(),
        code=code_fingerprint(DISTANCES),
        divergences=found.divergences,
        tokens=found.tokens,
    )
