"""What one model lost of another, and what changed from one run to the next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.api.running import STORE, run
from glu_prune.notebook import Results
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from glu_prune.experiment.cell import Settings


def judge(
    pruned: str,
    against: str,
    tasks: Sequence[str] = (),
    *,
    claims: str | Path | None = None,
    margin: float = 0.05,
    chat: bool = False,
    limit: int | None = None,
    store: str | Path = STORE,
    settings: "Settings | None" = None,
) -> Results:
    """Verdicts on what `pruned` lost of the model that it came from; runs what the store lacks.

    Args:
        pruned: Any model that answers: a name, a folder, a GGUF file or an id, whatever was done to it.
        against: The dense one.
        tasks: Capabilities, or tasks of lm-eval, each perhaps as `TASK:METRIC`; all of the suite if there is none.
        claims: An expectation file, whose claims are judged instead; it says what `tasks` and `chat` would.
        margin: The loss that does not matter, in units of the metric (nats for perplexities).
        chat: Whether prompts are in the model's chat template.
        limit: At most so many items of each task, drawn once.
        store: The folder of records, or the address of a store elsewhere.
        settings: How models are run; on this CPU in float32 unless said otherwise.

    Raises:
        GluPruneError: something is missing, not allowed, or cannot be run.
    """
    from glu_prune.experiment.cell import Settings
    from glu_prune.experiment.shared import placed
    from glu_prune.judgement.two_models import cases_about_two

    file = None if claims is None else Path(claims)
    cases = cases_about_two(pruned, against, tasks, margin, file, chat=chat)
    return Results(run(cases, settings or Settings(), placed(store), limit))


def compare(
    before: str | Path, after: str | Path, margin: float = 0.0, *, allow_missing: Sequence[str] = ()
) -> Results:
    """What changed from one run to another, item by item: the table `baseline`, a row for each arm and capability.

    Args:
        before: A store or its address, a pack, a baseline's file, or logs of lm-eval, inspect or lighteval: a file, or
            a folder.
        after: Such another.
        margin: Changes up to this, in units of the metric, are none.
        allow_missing: Models, arms, capabilities or tasks of which `after` may lack what `before` has.

    Raises:
        GluPruneError: one of them cannot be read, or nothing in them can be compared.
    """
    from glu_prune.baseline.sources import compared
    from glu_prune.experiment.shared import placed
    from glu_prune.report.against import compared_rows

    found = compared(placed(before), placed(after), margin, allow_missing)
    return Results(Report(baseline=tuple(compared_rows(found, str(before)))))
