import pytest

from glu_prune.errors import PlanError
from glu_prune.pruning.ratio import parse_ratio, show_ratio


@pytest.mark.parametrize("value", [1, 1.2, -0.1, "half", "nan", "inf", None, True, "", "０.５", "٠.٥"])
def test_other_values_are_refused(value):
    with pytest.raises(PlanError, match="0 <= ratio < 1"):
        parse_ratio(value)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.0"), (0.5, "0.5"), ("0.50", "0.5"), (0.25, "0.25"), (0.125, "0.125")]
)
def test_ratios_are_written_alike(value, text):
    assert show_ratio(parse_ratio(value)) == text
