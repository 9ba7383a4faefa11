import pytest

from glu_prune.errors import PlanError
from glu_prune.pruning.ratio import kept_width, parse_ratio, show_ratio


def test_the_widths_of_llama_3_2_1b():
    widths = [kept_width(8192, parse_ratio(ratio)) for ratio in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    assert widths == [7373, 6554, 5735, 4916, 4096, 3277]


def test_ratios_are_decimal_not_binary():
    """In binary floating point, 0.29 * 100 is 28.999999999999996."""
    assert kept_width(100, parse_ratio(0.29)) == 71


@pytest.mark.parametrize("value", [1, 1.2, -0.1, "half", "nan", "inf", None, True, ""])
def test_other_values_are_refused(value):
    with pytest.raises(PlanError, match="0 <= ratio < 1"):
        parse_ratio(value)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.0"), (0.5, "0.5"), ("0.50", "0.5"), (0.25, "0.25"), (0.125, "0.125")]
)
def test_ratios_are_written_alike(value, text):
    assert show_ratio(parse_ratio(value)) == text


def test_one_neuron_always_stays():
    assert kept_width(1, parse_ratio(0.999)) == 1
