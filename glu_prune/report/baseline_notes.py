"""What a comparison with a baseline comes to, in a line, and what of it is worth showing."""

from collections import Counter
from collections.abc import Iterator, Sequence

from glu_prune.results.baselines import BaselineResult


def is_news(row: BaselineResult) -> bool:
    """Whether something was found, so that it is shown when no more is asked for."""
    return row.outcome != "unchanged"


def counts(rows: Sequence[BaselineResult]) -> Iterator[str]:
    """How often what was found, baseline by baseline."""
    for name in dict.fromkeys(row.against for row in rows):
        found = Counter(row.outcome for row in rows if row.against == name)
        yield f"Against {name}: {', '.join(f'{count} {outcome}' for outcome, count in found.items())}."
