"""How long a cell will take: its questions are put and planned as in a run, and answered for some seconds only."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import DENSE, Cell
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.scoring import Scorer, lm_of


@dataclass(frozen=True)
class Probe:
    """What a cell of the dense model is estimated to take."""

    tokens: float
    """That are computed, prompts and answers."""
    seconds: float
    """Of the model's time."""
    beside: float
    """Seconds for putting questions and scoring answers, which the first arm of a task pays."""


class Prober:
    """Probes cells, model by model."""

    def __init__(self, budget: float, progress: Callable[[str], None]) -> None:
        """`budget` is for how many seconds each cell is answered; `progress` is told what is being done."""
        self._budget = budget
        self._progress = progress
        self._scorer = Scorer(progress)
        self._arms: Arms | None = None
        self.loading: dict[str, float] = {}
        """Seconds by fingerprint of a model."""

    def probe(self, cell: Cell) -> Probe:
        """Of the dense model on the questions of `cell`.

        Raises:
            EvaluationError: a task cannot be loaded, or is answered in a way that cannot be stopped on the way.
            GluPruneError: the model cannot be loaded.
        """
        from glu_prune.evaluation.probed_lm import ProbedLM

        dense = replace(cell, arm=DENSE)
        arms = self._loaded(dense)
        lm = ProbedLM(lm_of(arms, DENSE)[0], self._budget)
        self._progress(f"{dense}: probing for {self._budget:g} s")
        begin = time.perf_counter()
        asked = (dense.tasks, dense.num_fewshot, dense.subset, dense.folder)
        with muted(), cell.settings.applied():
            lm.limit(cell.settings.batch_size)
            self._scorer.evaluator.evaluate_together(lm, *asked, chat=dense.settings.chat_template)
        return Probe(lm.tokens, lm.seconds, time.perf_counter() - begin - lm.spent)

    def _loaded(self, cell: Cell) -> Arms:
        wanted = cell.source, cell.settings.loading
        if self._arms is None or (self._arms.source, self._arms.settings) != wanted:
            self._arms = None  # before the next is loaded: two models may be more than memory holds
            begin = time.perf_counter()
            self._arms = Arms(*wanted)
            _ = lm_of(self._arms, DENSE)[0].scoring
            self.loading[cell.source.fingerprint] = time.perf_counter() - begin
        return self._arms
