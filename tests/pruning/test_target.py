from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import PlanError
from glu_prune.pruning.surgery import prune
from glu_prune.pruning.target import Target, round_width
from glu_prune.pruning.width_map import map_widths
from tests.helpers.models import llama
from tools.survey import tiny

STUDY = {0.1: 7373, 0.2: 6554, 0.3: 5735, 0.4: 4916, 0.5: 4096, 0.6: 3277}
"""Widths of Llama-3.2-1B in the study."""


@pytest.mark.parametrize(("ratio", "width"), STUDY.items())
def test_the_widths_of_llama_3_2_1b(ratio, width):
    assert round_width(8192, Fraction(str(ratio)) * 8192) == width


def test_ratios_are_decimal_not_binary():
    """In binary floating point, 0.29 * 100 is 28.999999999999996."""
    assert round_width(100, Fraction("0.29") * 100) == 71


@given(st.integers(1, 5000), st.fractions(0, 1), st.integers(1, 300))
def test_rounding_is_to_the_nearest_multiple_within_bounds(width, ratio, multiple):
    if multiple > width:
        with pytest.raises(PlanError, match=f"multiple_of {multiple} is not allowed for a width of {width}"):
            round_width(width, ratio * width, multiple)
        return
    kept = round_width(width, ratio * width, multiple)
    assert 0 < kept <= width
    assert kept % multiple == 0
    exact = round_width(width, ratio * width)
    nearest = min(range(multiple, width + 1, multiple), key=lambda each: (abs(each - exact), -each))
    assert kept == nearest


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({"ratio": "0.4"}, 26),
        ({"expansion_ratio": 3.25}, 26),
        ({"width": 26}, 26),
        ({"ratio": 0.4, "multiple_of": 8}, 24),
        ({"ratio": 0.4, "multiple_of": 43}, 43),
        ({"ratio": 0, "multiple_of": 8}, 40),
        ({"ratio": 0.999, "multiple_of": 8}, 8),
        ({"expansion_ratio": "0.001"}, 1),
    ],
)
def test_three_ways_to_say_how_narrow(asked, kept):
    width_map = map_widths(llama(width=43))
    assert set(Target.of(**asked).widths(width_map).values()) == {kept}


def test_layers_can_have_ratios_of_their_own_or_be_skipped():
    width_map = map_widths(llama(width=40, layers=4))
    widths = Target.of(0.5, layer_ratios={0: 0.1, -1: "0.25"}, skip=[1]).widths(width_map)
    assert list(widths.values()) == [36, 40, 20, 30]
    assert list(Target.of(0.5, skip=["model.layers.[12].*"]).widths(width_map).values()) == [20, 40, 40, 20]


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, "exactly one of ratio, expansion_ratio and width must be given; found none"),
        ({"ratio": 0.5, "width": 3}, "exactly one of .* found ratio=0.5, width=3"),
        ({"ratio": 1}, "0 <= ratio < 1"),
        ({"expansion_ratio": 0}, "expansion_ratio 0 is not allowed"),
        ({"expansion_ratio": "wide"}, "expansion_ratio 'wide' is not allowed"),
        ({"width": 0}, "width 0 is not allowed; it is a whole number of at least 1"),
        ({"width": 2.5}, "width 2.5 is not allowed"),
        ({"width": 41}, "width 41 is above the original, which is 40 neurons at the most"),
        ({"expansion_ratio": 6}, "expansion ratio 6 is above the original"),
        ({"ratio": 0.5, "multiple_of": 0}, "multiple_of 0 is not allowed"),
        ({"ratio": 0.5, "multiple_of": 41}, "multiple_of 41 is not allowed for a width of 40"),
        ({"ratio": 0.5, "skip": [2]}, "2 matches no GLU block; there are layers 0 to 1"),
        ({"ratio": 0.5, "skip": [-3]}, "-3 matches no GLU block"),
        ({"ratio": 0.5, "skip": ["encoder.*"]}, "'encoder.*' matches no GLU block"),
        ({"ratio": 0.5, "layer_ratios": {7: 0.1}}, "7 matches no GLU block"),
        ({"ratio": 0.5, "layer_ratios": {0: 1.5}}, "0 <= ratio < 1"),
    ],
)
def test_other_targets_are_refused(asked, complaint):
    with pytest.raises(PlanError, match=complaint):
        Target.of(**asked).widths(map_widths(llama(width=40)))


def test_targets_say_what_they_are():
    target = Target.of("0.40", multiple_of=8, layer_ratios={-1: 0.1}, skip=[0, "encoder.*"])
    assert str(target) == "ratio 0.4, multiple of 8, layer -1 ratio 0.1, without 0 encoder.*"
    assert str(Target.of(expansion_ratio="2.40")) == "expansion ratio 2.40"
    assert str(Target.of(width=7)) == "width 7"


def test_blocks_that_one_entry_sets_are_rounded_together():
    """DeepSeek's two shared experts are one block of twice the routed experts' width, which must stay twice."""
    width_map = map_widths(tiny.build("deepseek_v3"))
    for ratio in ("0.1", "0.33", "0.5", "0.87"):
        widths = Target.of(ratio).widths(width_map)
        routed = {width for name, width in widths.items() if ".experts." in name}
        shared = {width for name, width in widths.items() if "shared_experts" in name}
        assert len(routed) == 1
        assert {2 * width for width in routed} == shared


def test_narrower_blocks_stay_when_a_width_is_asked_for():
    """A mixture of experts has dense blocks of 44 neurons and experts of 28."""
    widths = Target.of(width=30).widths(map_widths(tiny.build("qwen3_moe")))
    assert set(widths.values()) == {30, 28}


def test_experts_are_rounded_to_what_grouped_kernels_take():
    width_map = map_widths(tiny.build("qwen3_moe"))
    experts = {block.name for block in width_map.blocks if block.grouped}
    assert {width_map.step(block) for block in width_map.blocks if block.grouped} == {4}
    for hundredths in range(100):
        widths = Target.of(f"0.{hundredths:02}").widths(width_map)
        exact = Target.of(f"0.{hundredths:02}", multiple_of=1).widths(width_map)
        for name, width in widths.items():
            assert abs(width - exact[name]) <= (3 if name in experts else 0)
            assert width % 4 == 0 or name not in experts
    assert set(Target.of(0).widths(width_map).values()) == {44, 28}
    odd = tiny.build("qwen3_moe")
    prune(odd, 0.1, multiple_of=1)
    before = {block.name: block.width for block in map_widths(odd).blocks}
    assert 26 in before.values()
    assert Target.of(0).widths(map_widths(odd)) == before, "where nothing is to go, nothing goes"


def test_a_width_that_is_asked_for_itself_is_never_exchanged():
    width_map = map_widths(tiny.build("mixtral"))
    said = r"mlp\.experts\.0: width 30 is not allowed: .* the nearest that run: 28 and 32; multiple_of 1 cuts them all"
    with pytest.raises(PlanError, match=said):
        Target.of(width=30).widths(width_map)
    assert set(Target.of(width=30, multiple_of=1).widths(width_map).values()) == {30}
    assert set(Target.of(width=28).widths(width_map).values()) == {28}
    assert Target.of(width=28).of_model(width_map) == "width 28, experts a multiple of 4 (rows of 16 bytes)"
    assert Target.of(width=28, multiple_of=1).of_model(width_map) == "width 28, multiple of 1"
    assert Target.of(0.5).of_model(map_widths(llama())) == "ratio 0.5"
    assert Target.of(0.5).of_model(map_widths(tiny.build("jetmoe"))) == "ratio 0.5", "its experts are no grouped ones"


def test_a_budget_takes_the_smallest_ratio_that_meets_it():
    width_map = map_widths(llama())
    whole = width_map.parameters
    for multiple in (None, 2):
        target = Target.of(parameters=whole * 8 // 10, multiple_of=multiple)
        widths = target.widths(width_map)
        left = whole - sum((block.width - widths[block.name]) * block.per_neuron for block in width_map.blocks)
        assert left <= whole * 8 // 10
        ratio = target._within(width_map).ratio
        wider = Target.of(ratio - Decimal("0.001"), multiple_of=multiple).widths(width_map)
        more = whole - sum((block.width - wider[block.name]) * block.per_neuron for block in width_map.blocks)
        assert more > whole * 8 // 10
    in_bytes = Target.of(bytes=whole * 8 // 10 * width_map.itemsize)
    assert in_bytes.widths(width_map) == Target.of(parameters=whole * 8 // 10).widths(width_map)


def test_a_budget_that_cannot_be_met_says_what_stays():
    width_map = map_widths(llama())
    with pytest.raises(PlanError, match=r"at most 10 parameters: the budget cannot be met; [\d,]+ parameters stay"):
        Target.of(parameters=10).widths(width_map)
    with pytest.raises(PlanError, match=r"at most 10 bytes: .* parameters stay at the least, that is [\d,]+ bytes"):
        Target.of(bytes=10).widths(width_map)
