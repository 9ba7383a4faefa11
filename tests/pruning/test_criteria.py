import sys
from dataclasses import replace

import pytest
import torch

from glu_prune.errors import PlanError
from glu_prune.pruning.criteria import CRITERIA, Activations, Criterion, Neurons, _registry, criterion, ppm, register
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.ranking import rank_block

GATE = torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 2.0]])
UP = torch.tensor([[0.0, 0.25, -0.25], [-1.0, -4.0, -2.0]])
DOWN = torch.tensor([[1.0, 2.0], [-2.0, 0.0], [2.0, 0.0]])
LOOKING = ("wanda", "flap", "minitron", "ppm_hybrid")
SEEN = Activations(torch.tensor([2.0, 0.5]), torch.tensor([3.0, 0.25]), torch.tensor([1.5, 0.125]))
NEURONS = Neurons(GluWeights(GATE, UP, DOWN), activations=SEEN)


def scores(name: str, neurons: Neurons = NEURONS) -> list[float]:
    return criterion(name).score(neurons).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ppm", [(1 + 2) + (0.25 + 0.25), (3 + 1) + (-1 + 4)]),
        ("vow", [7.75 / 3 + 0.0625, 1 + 7 / 3]),
        ("pon", [3.5 * 0.5, 6 * 7]),
        ("l2", [5.25**0.5 + 0.125**0.5, 14**0.5 + 21**0.5]),
        ("pon3", [5.25**0.5 * 0.125**0.5 * 3, 14**0.5 * 21**0.5 * 2]),
        ("wanda", [2 * 5, 0.5 * 2]),
        ("flap", [3 * (1 + 4 + 4), 0.25 * 4]),
        ("minitron", [1.5, 0.125]),
        ("ppm_hybrid", [(3 / 4 + 0.5 / 3 + 4 / 4) * 2, (4 / 4 + 3 / 3 + 2 / 4) * 0.5]),
    ],
)
def test_each_criterion_is_its_formula(name, expected):
    assert scores(name) == pytest.approx(expected, rel=1e-6)


def test_every_criterion_is_tested_above_or_is_a_control():
    assert set(CRITERIA) == {*LOOKING, "ppm", "vow", "pon", "l2", "pon3", "random"}


@pytest.mark.parametrize("name", ["ppm", "vow", "pon", "l2", "pon3", *LOOKING])
def test_only_random_needs_the_seed(name):
    assert scores(name) == scores(name, replace(NEURONS, seed=1))


def test_random_depends_on_its_seed_alone():
    other = Neurons(GluWeights(GATE * 2, UP, DOWN), seed=5)
    assert scores("random", replace(NEURONS, seed=5)) == scores("random", other)
    assert scores("random", replace(NEURONS, seed=5)) != scores("random", replace(NEURONS, seed=6))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_are_float32_for_every_dtype(dtype):
    weights = GluWeights(*(tensor.to(dtype) for tensor in (GATE, UP, DOWN)))
    found = {each.score(replace(NEURONS, weights=weights)).dtype for each in CRITERIA.values()}
    assert found == {torch.float32}


def test_scaling_up_against_down_does_not_change_the_three_way_product():
    scaled = Neurons(GluWeights(GATE, UP * 4, DOWN / 4))
    assert scores("pon3", scaled) == pytest.approx(scores("pon3"))
    assert scores("pon", scaled) != pytest.approx(scores("pon"))


def test_aliases_and_reverses():
    assert criterion("maw") is criterion("ppm")
    assert scores("reversed-l2") == [-score for score in scores("l2")]
    assert criterion("reversed").name == "reversed-ppm"
    assert criterion("reversed-maw").name == "reversed-ppm"


@pytest.mark.parametrize("name", ["magic", "reversed-magic", "reversedppmm", ""])
def test_unknown_criteria_name_the_known_ones(name):
    with pytest.raises(
        PlanError,
        match=rf"unknown criterion '{name}'; allowed: flap, l2, maw, .*, reversed-NAME for the reverse of each, and",
    ):
        criterion(name)


@pytest.mark.parametrize("name", LOOKING)
def test_activations_must_be_given_to_those_that_look_at_them(name):
    assert criterion(name).looks_at == "activations"
    with pytest.raises(PlanError, match=f"criterion {name} needs calibration text: .*--calibration FILE"):
        scores(name, replace(NEURONS, activations=None))


def test_users_can_add_criteria():
    try:

        @register("bias", formula="b", source="a test", aliases=("offset",))
        def bias(neurons: Neurons) -> torch.Tensor:
            return neurons.weights.gate.sum(1)

        assert isinstance(criterion("offset"), Criterion)
        assert scores("bias") == [-0.5, 6.0]
        assert scores("reversed-bias") == [0.5, -6.0]
        with pytest.raises(PlanError, match="criterion 'offset' cannot be registered: the name is taken"):
            register("offset", formula="", source="")
    finally:
        _registry.pop("bias")


@pytest.mark.parametrize("name", ["ppm", "maw", "reversed-mine"])
def test_names_are_not_taken_twice(name):
    with pytest.raises(PlanError, match="the name is taken"):
        register(name, formula="", source="")


def test_what_a_criterion_looks_at_is_one_of_three():
    with pytest.raises(PlanError, match="looks at 'stars'; allowed: weights, activations, nothing"):
        register("astrology", formula="", source="", looks_at="stars")


def test_the_code_of_a_criterion_is_part_of_its_identity():
    assert criterion("ppm").source_digest != criterion("l2").source_digest
    assert criterion("ppm").source_digest == criterion("maw").source_digest


@pytest.mark.parametrize("each", CRITERIA.values(), ids=CRITERIA)
def test_docstrings_give_shape_and_source(each):
    assert "(width,)" in each.score.__doc__
    assert "Source: " in each.score.__doc__ or each.source == "control"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["mixed", "one sign", "zeros", "nan", "negative nan", "inf"])
def test_peaks_from_bits_are_the_peaks(dtype, kind):
    weight = torch.randn(50, 33, generator=torch.Generator().manual_seed(0)).to(dtype)
    if kind == "one sign":
        weight[3], weight[7] = weight[3].abs(), -weight[7].abs()
    elif kind == "zeros":
        weight[3], weight[7], weight[9, 1:] = 0.0, -0.0, 0.0
    elif kind != "mixed":
        weight[5, 4] = float(kind.removeprefix("negative ")) * (-1 if "negative" in kind else 1)
    found = ppm(Neurons(GluWeights(weight, weight, weight.t())))
    expected = 2 * (weight.float().amax(1) + weight.float().amin(1).abs())
    assert torch.equal(found.nan_to_num(7, 8, 9), expected.nan_to_num(7, 8, 9))
    assert bool(found.isfinite().all()) == (kind in ("mixed", "one sign", "zeros"))


OWN = """\
def bias(neurons):
    '''b: a formula'''
    return total(neurons.weights.gate)

def total(weight):
    return weight.sum(1)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module in the current folder, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_criteria.py").write_text(OWN)
    yield tmp_path / "own_criteria.py"
    sys.modules.pop("own_criteria", None)


def test_a_function_is_a_criterion_by_its_module_and_name(own):
    path = list(sys.path)
    found = criterion("own_criteria:bias")
    assert (found.name, found.formula, found.looks_at) == ("own_criteria:bias", "b: a formula", "weights")
    assert scores("own_criteria:bias") == [-0.5, 6.0]
    assert criterion("reversed-own_criteria:bias").name == "reversed-own_criteria:bias"
    assert scores("reversed-own_criteria:bias") == [0.5, -6.0]
    assert sys.path == path


def test_a_registered_function_is_found_under_its_own_name(own):
    own.write_text(
        "import glu_prune\n\n@glu_prune.register('bias', formula='b', source='x', looks_at='nothing')\n" + OWN
    )
    try:
        assert criterion("own_criteria:bias") is criterion("bias")
        assert criterion("reversed-own_criteria:bias").name == "reversed-bias"
    finally:
        _registry.pop("bias")


@pytest.mark.parametrize("name", ["own_criteria:bias", "reversed-own_criteria:bias"])
def test_all_code_of_its_module_is_part_of_its_identity(own, name):
    before = criterion(name).source_digest
    assert before == criterion(name).source_digest
    sys.modules.pop("own_criteria")
    own.write_text(OWN.replace("sum(1)", "sum(1) * 2"))
    assert criterion(name).source_digest != before


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        (
            "absent_module:bias",
            "module 'absent_module' cannot be imported: ModuleNotFoundError: No module named .*it is looked for in .*, too",
        ),
        ("own_criteria:bass", "criterion 'own_criteria:bass': module 'own_criteria' has no function 'bass'"),
        ("own_criteria:", "module 'own_criteria' has no function ''"),
        (":bias", "module '' cannot be imported"),
        ("./own:bias", "module './own' cannot be imported"),
    ],
)
def test_what_is_no_function_of_a_module_is_said_in_one_line(own, name, complaint):
    with pytest.raises(PlanError, match=complaint) as caught:
        criterion(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("def bias(:\n", r"SyntaxError: invalid syntax \(own_criteria.py, line 1\)"),
        ("bias = nonsense\n", "NameError: name 'nonsense' is not defined"),
        ("raise SystemExit(0)\n", "SystemExit: 0"),
    ],
)
def test_a_module_with_a_mistake_is_said_in_one_line(own, text, complaint):
    own.write_text(text)
    with pytest.raises(PlanError, match=f"cannot be imported: {complaint}"):
        criterion("own_criteria:bias")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return neurons.weights.gates", r"fails \({own}:3\): AttributeError: .*'gates'"),
        ("return neurons.weights.gate @ neurons.weights.gate", r"fails \({own}:3\): RuntimeError: "),
        ("pass", "gives None, not a tensor of scores"),
        ("return neurons.weights.gate.sum(1).tolist()", r"gives \[.*, not a tensor of scores"),
        ("raise SystemExit(0)", r"fails \({own}:3\): SystemExit: 0"),
        (
            "return neurons.weights.gate.sum(1) * 1j",
            r"gives a tensor of another kind \(complex64, strided, cpu\); give real",
        ),
        ("return neurons.weights.gate.sum(1).to('meta')", "gives a tensor of another kind .*, meta"),
        ("return neurons.weights.gate.sum(1).to_sparse()", "gives a tensor of another kind .*, sparse_coo, cpu"),
        ("return neurons.weights.gate.abs_().sum(1)", r"writes into the weights .*`\.clone\(\)`"),
    ],
)
def test_a_criterion_that_fails_is_said_in_one_line(own, body, complaint):
    own.write_text(f"# of this test\ndef bias(neurons):\n    {body}\n")
    weights = GluWeights(GATE.clone(), UP, DOWN)
    with pytest.raises(PlanError, match=f"^block: criterion own_criteria:bias {complaint.format(own=own)}") as caught:
        rank_block("block", weights, criterion("own_criteria:bias"), 0, None)
    assert "\n" not in str(caught.value)


def test_the_reverse_of_a_criterion_fails_in_the_line_of_its_own(own):
    own.write_text("def bias(neurons):\n    return neurons.weights.gates\n")
    with pytest.raises(PlanError, match=rf"criterion reversed-own_criteria:bias fails \({own}:2\): AttributeError"):
        rank_block("block", NEURONS.weights, criterion("reversed-own_criteria:bias"), 0, None)
