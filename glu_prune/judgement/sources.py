"""What cases are judged by, wherever it comes from: runs of this session, or figures that others published."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from glu_prune.evidence.figures import Evidence
from glu_prune.experiment.cell import Arm
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.judgement.case import ArmCase, Case, Requirement
from glu_prune.judgement.distances import ItemDistances
from glu_prune.judgement.run_pairs import RunPair
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.results.findings import Finding
from glu_prune.results.report import CaseTables

if TYPE_CHECKING:
    from glu_prune.efficiency.series import Series
    from glu_prune.judgement.kinds.cost import EfficiencyCase
    from glu_prune.judgement.kinds.distance import DistanceCase


NO_TABLES = CaseTables()


@dataclass(frozen=True)
class Evaluation:
    """The scores of one capability, and what else is known of the items behind them."""

    scores: CapabilityScores
    records: Mapping[Arm, Record] = field(default_factory=dict)
    """The items of each arm; none where only aggregates are known."""
    tables: CaseTables = NO_TABLES
    floors: FloorRecord | None = None
    """What the items ask, and what answers without content score on them; None where only aggregates are known."""


@dataclass(frozen=True)
class CostEvidence:
    """Runs of dense and pruned models that were made alike."""

    figure: str
    """Its key in `Run.figures`."""
    pairs: Sequence[RunPair]
    findings: Sequence[Finding]
    """What is wrong with these runs."""
    replicate: Sequence[RunPair] = ()
    """The same pairs with a copy of the dense model in its place."""
    log_accuracy_ratio: tuple[float, float] = (0.0, 0.0)
    """(logarithm of a ratio, its standard error) by which the figure is divided besides, known independently."""
    tables: CaseTables = NO_TABLES


@dataclass(frozen=True)
class DistanceEvidence:
    """How far the pruned model of a case is from the dense one, item by item."""

    items: ItemDistances
    note: str = ""
    """A word or two for the table on which items these are."""
    remarks: tuple[str, ...] = ()
    """What must be known of these items."""
    tables: CaseTables = NO_TABLES


class Source(Protocol):
    """Where the scores and costs come from that cases are judged by."""

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Which of `cases` have something to run; finds, before that begins, what would stop it later.

        Raises:
            GluPruneError: something is missing, or cannot be trusted.
        """

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Which of `cases` have something to run.

        Raises:
            GluPruneError: a model is not here, or the store cannot be read.
        """

    def submit(self, cases: Iterable[Case]) -> None:
        """Lets whatever works ahead begin with what `cases` need; they are judged as results arrive.

        Raises:
            StoreError: the store cannot be read.
        """

    def scores(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """The scores that `needed` names; where items are answered subset by subset, after each, the last complete.

        Raises:
            GluPruneError: they cannot be had.
        """

    def ratios(self, case: Case, needed: Requirement) -> frozenset[Decimal]:
        """The ratios at which scores of the case's criterion are known, whether or not a file declares them."""

    def distances(self, case: "DistanceCase", needed: Requirement) -> DistanceEvidence:
        """How far the pruned model is from the dense one in what `needed` names.

        Raises:
            NotMeasuredError: it is not measured here.
            GluPruneError: it cannot be had.
        """

    def declared(self, case: ArmCase) -> str | None:
        """When all that the session's files declare of the claim was declared first: UTC, ISO 8601; None if unknown."""

    def costs(self, case: "EfficiencyCase") -> CostEvidence:
        """The runs that the claim is about.

        Raises:
            GluPruneError: they cannot be had.
        """

    def measured(self, case: Case, arms: Sequence[Arm]) -> "Sequence[Series]":
        """What the dense model and `arms` cost, in turns, on every workload of the file's suite.

        Raises:
            NotMeasuredError: it is not measured here.
            GluPruneError: it cannot be had.
        """

    def evidence(self, case: Case) -> tuple[Evidence, Sequence[Finding]]:
        """The published figures about the model, and what the checks find in them.

        Raises:
            EvaluationError: nothing published is judged here.
        """
