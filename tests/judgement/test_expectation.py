from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.errors import ExpectationError
from glu_prune.judgement.expectation import read

GOOD = """\
model: tiny-base
ratios: [0.1, 0.5]
controls: [random]
expect:
  - capability: factual_recall
    direction: down
    why: facts live in neurons
  - capability: factual_recall
    direction: preserved
    margin: 0.05
    ratios: [0.1]
    verdict: inconclusive
    why: few are lost
  - capability: arithmetic
    direction: down
    why: it is fragile
"""


def cases(tmp_path: Path, text: str):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return read(path)


def test_claims_become_cases_in_order_of_ratio(tmp_path):
    found = cases(tmp_path, GOOD)
    assert [case.id for case in found] == [
        "tiny-base-ratio_0.1-factual_recall",
        "tiny-base-ratio_0.1-factual_recall-preserved",
        "tiny-base-ratio_0.1-arithmetic",
        "tiny-base-ratio_0.5-factual_recall",
        "tiny-base-ratio_0.5-arithmetic",
    ]
    assert found[1].ratio == Decimal("0.1")
    assert found[1].expectation.margin == 0.05
    assert found[1].line == 8
    assert found[0].controls == ("random",)
    assert found[0].capability.task == "tiny_recall"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("capability: arithmetic", "capability: aritmetic", "model.yaml:14: capability 'aritmetic' does not exist; did you mean 'arithmetic'?"),
        ("    direction: down\n    why: it", "    directoin: down\n    why: it", "model.yaml:15: expect.2.directoin: key 'directoin' does not exist; did you mean 'direction'?"),
        ("verdict: inconclusive", "verdikt: inconclusive", "model.yaml:12: expect.1.verdikt: key 'verdikt' does not exist; did you mean 'verdict'?"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 1.2]", r"model.yaml:2: ratios.1: ratio 1.2 is not allowed; .*0 <= ratio < 1"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 0]", "model.yaml:2: ratios.1: ratio 0 is the dense model"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 0.10]", "model.yaml:2: ratios: 0.1 occurs more than once"),
        ("ratios: [0.1, 0.5]", "ratios: []", "model.yaml:2: ratios"),
        ("ratios: [0.1]", "ratios: [0.3]", "model.yaml:11: ratio 0.3 is not among the ratios of this file"),
        ("direction: preserved", "direction: sideways", "model.yaml:9: expect.1.direction: .*'up', 'down' or 'preserved'.*found 'sideways'"),
        ("    margin: 0.05\n", "", "model.yaml:8: expect.1: direction preserved needs margin"),
        ("margin: 0.05", "margin: -1", "model.yaml:10: expect.1.margin: .*greater than 0"),
        ("    why: it is fragile\n", "", "model.yaml:14: expect.2.why is missing"),
        ("controls: [random]", "controls: [magic]", "model.yaml:3: controls.0: .*found 'magic'"),
        ("model: tiny-base", "model: [", "model.yaml:[23]: not YAML"),
        ("model: tiny-base\n", "", "model.yaml:1: model is missing"),
        ("direction: preserved\n    margin: 0.05", "direction: down", "model.yaml:8: factual_recall down at ratio 0.1 is claimed a second time; the first is in line 5"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_file_line_and_value(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(ExpectationError, match=complaint) as caught:
        cases(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExpectationError, match=r"absent\.yaml: No such file or directory"):
        read(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "\xff\xfe"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(ExpectationError):
        cases(tmp_path, text)


def test_yaml_cannot_run_code(tmp_path):
    with pytest.raises(ExpectationError, match="not YAML"):
        cases(tmp_path, GOOD.replace("tiny-base", "!!python/object/apply:os.getcwd []"))


def test_ratios_are_read_as_they_are_written(tmp_path):
    found = cases(tmp_path, GOOD.replace("[0.1, 0.5]", "[0.1, 0.29]"))
    assert found[-1].ratio == Decimal("0.29")
