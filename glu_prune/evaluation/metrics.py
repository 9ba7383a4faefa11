"""Metrics of likelihoods, and the scale on which their scores are compared."""

import math
from collections.abc import Mapping, Sequence

from glu_prune.statistics.means import mean

LIKELIHOODS: Mapping[str, float] = {
    "perplexity": 1.0,
    "word_perplexity": 1.0,
    "byte_perplexity": 1.0,
    "bits_per_byte": math.log(2),
}
"""Metrics whose items are log-likelihoods, alone or with units, and how many nats make one unit."""


def scale_of(metric: str) -> str:
    """The unit in which scores of `metric` are compared: nats for perplexities, whose logs are means over items.

    A filter may follow the metric's name after a comma, as in lm-eval's results.
    """
    bare = metric.partition(",")[0]
    if bare not in LIKELIHOODS:
        return "score"
    return "bits per byte" if bare == "bits_per_byte" else "nats"


def on_scale(metric: str, value: float) -> float:
    """`value` in that unit."""
    return math.log(value) if scale_of(metric) == "nats" else value


def aggregate(metric: str, values: Sequence[float], weights: Sequence[float]) -> float:
    """The score of items as lm-eval gives it: the exponential of their mean for perplexities, else their mean."""
    # Weighted by words or bytes, the mean of nats per unit is that of all texts over all units, and lm-eval reports
    # its exponential. Arms are compared before the exponential, where items add up.
    found = mean(values, weights)
    return math.exp(found) if scale_of(metric) == "nats" else found
