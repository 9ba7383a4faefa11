"""What checks of measurements find, in published figures and in our own alike."""

from typing import Annotated

from pydantic import PlainSerializer

from glu_prune.results.base import RatioField, Row


class Finding(Row):
    """One thing that is wrong with figures, or must be known of them."""

    check: str
    subject: str
    """The column, workload, or task and metric that it is about."""
    says: str
    """What was found, with its numbers, in one line."""
    spoils: Annotated[frozenset[str], PlainSerializer(sorted, return_type=list[str])] = frozenset()
    """Names of figures that cannot be used for what they are named after; empty if it is only to be known."""
    ratios: tuple[RatioField, ...] = ()
    """The pruning ratios concerned."""
    workloads: tuple[str, ...] = ()
    """The workloads concerned, if it is about runs."""
    leaves_open: bool = False
    """Whether what the spoilt figures seem to show may be so all the same."""

    def touches(self, model: str, figure: str, workload: str) -> bool:
        """Whether it spoils this figure of this workload."""
        return self.model == model and figure in self.spoils and workload in self.workloads
