import random
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import glu_prune
from glu_prune.errors import PlanError
from glu_prune.pruning import calibration
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.calibration import measure, measure_on, sequences
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.ratio import parse_ratio
from tests.helpers.models import llama
from tools.survey import tiny

texts = st.lists(st.lists(st.integers(0, 31), min_size=1, max_size=9), min_size=1, max_size=6)


def padded(rows: list[list[int]], side: str) -> dict[str, torch.Tensor]:
    """One batch of sequences of unequal length, padded with token 0 left or right."""
    longest = max(map(len, rows))
    fill = [longest - len(row) for row in rows]
    if side == "left":
        ids = [[0] * n + row for n, row in zip(fill, rows, strict=True)]
        mask = [[0] * n + [1] * len(row) for n, row in zip(fill, rows, strict=True)]
    else:
        ids = [row + [0] * n for n, row in zip(fill, rows, strict=True)]
        mask = [[1] * len(row) + [0] * n for n, row in zip(fill, rows, strict=True)]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@given(texts, st.integers(1, 4), st.sampled_from(["left", "right"]), st.randoms(use_true_random=False))
def test_batches_padding_and_order_change_no_bit(rows, size, side, rng):
    model = llama(width=16)
    expected = measure(model, rows)
    shuffled = rows[:]
    rng.shuffle(shuffled)
    batches = [padded(shuffled[i : i + size], side) for i in range(0, len(rows), size)]
    found = measure(model, batches)
    pairs = measure(model, [(batch["input_ids"], batch["attention_mask"]) for batch in batches])
    for name in expected:
        for which, seen in vars(expected[name]).items():
            assert torch.equal(seen, getattr(found[name], which))
            assert torch.equal(seen, getattr(pairs[name], which))


def hooked(model, rows) -> dict[str, list[torch.Tensor]]:
    """What down projections read, by plain hooks: block name to `(tokens, width)` of each row."""
    read = {block.name: [] for block in find_blocks(model)}

    def add(name):
        return lambda _, inputs: read[name].append(inputs[0][0].double())

    handles = [m.down_proj.register_forward_pre_hook(add(n)) for n, m in model.named_modules() if n in read]
    with torch.no_grad():
        for row in rows:
            model(torch.tensor([row]))
    for handle in handles:
        handle.remove()
    return read


def test_statistics_are_those_of_what_down_reads():
    model, rows = llama(width=16), [[1, 2, 3, 4], [5, 6], [7] * 9]
    found, read = measure(model, rows), hooked(model, rows)
    for name, texts in read.items():
        tokens = torch.cat(texts)
        means = torch.stack([each.abs().mean(0) for each in texts])
        for which, expected in (
            ("norm", tokens.norm(dim=0)),
            ("variance", tokens.var(dim=0, correction=0)),
            ("magnitude", means.norm(dim=0)),
        ):
            torch.testing.assert_close(getattr(found[name], which).double(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("criterion", ["flap", "minitron"])
def test_criteria_keep_what_a_plain_implementation_keeps(criterion):
    """Each again by hand, from what hooks see: FLAP's weighted variance, Minitron's L2 over texts of means over tokens."""
    model, rows = llama(width=40), [[1, 2, 3, 4], [5, 6], [7, 30] * 5]
    read = hooked(model, rows)
    plan = rank(model, criterion, activations=measure(model, rows)).plan(parse_ratio("0.4"))
    for block, kept in zip(find_blocks(model), plan.blocks, strict=True):
        if criterion == "flap":
            spread = torch.cat(read[block.name]).var(dim=0)
            scores = spread * block.weights.down.double().square().sum(0)
        else:
            scores = torch.stack([text.abs().mean(0) for text in read[block.name]]).square().sum(0)
        assert sorted(scores.topk(24).indices.tolist()) == sorted(kept.kept)


def test_experts_count_the_tokens_that_reach_them():
    """The squares of all experts' outputs add up to what experts computed one by one would give."""
    model = tiny.build("mixtral")
    rows = [[20, 30, 40, 50, 60]]
    found = measure(model, rows)
    experts = model.model.layers[0].mlp.experts
    seen = {}
    handle = experts.register_forward_pre_hook(lambda _, inputs: seen.update(inputs=inputs))
    with torch.no_grad():
        model(torch.tensor(rows))
    handle.remove()
    hidden, chosen, _ = seen["inputs"]
    for expert in range(experts.num_experts):
        tokens = hidden[(chosen == expert).any(-1)]
        gate, up = (tokens @ experts.gate_up_proj[expert].T).chunk(2, dim=-1)
        expected = (experts.act_fn(gate) * up).square().sum(0).sqrt()
        torch.testing.assert_close(found[f"model.layers.0.mlp.experts.{expert}"].norm, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["phi3", "t5", "modernbert", "gpt_oss", "llama4_text", "dbrx", "zamba2", "cpmant"])
def test_every_layout_is_watched(family):
    model = tiny.build(family)
    rng = random.Random(0)
    rows = [[rng.randrange(20, 90) for _ in range(40)] for _ in range(3)]
    found = measure(model, rows)
    assert found.keys() == {block.name for block in find_blocks(model)}
    assert all(bool(seen.norm.any()) for seen in found.values())


def test_the_model_is_left_as_it_was():
    model = tiny.build("mixtral").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    implementation = model.config._experts_implementation
    measure(model, [[20, 21, 22]])
    assert model.training
    assert model.config._experts_implementation == implementation
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("criterion", ["wanda", "flap", "minitron", "ppm_hybrid"])
def test_criteria_look_at_the_text(criterion):
    one = glu_prune.prune(llama(width=40), 0.5, criterion, calibration=[[1, 2, 3]])
    other = glu_prune.prune(llama(width=40), 0.5, criterion, calibration=[[9, 8, 30, 4]])
    assert one.blocks != other.blocks


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([], "holds no token"),
        ([[]], "holds no token"),
        ([[1, 32]], "holds token 32; allowed are 0 to 31"),
        ([[-1]], "holds token -1"),
        ([torch.rand(2, 3)], r"must be token ids .* found \(2, 3\) of torch.float32"),
    ],
)
def test_other_text_is_refused(rows, complaint):
    with pytest.raises(PlanError, match=complaint):
        measure(llama(), rows)


def test_experts_that_no_token_reaches_cannot_be_told_apart():
    model = tiny.build("mixtral")
    activations = measure(model, [[20]])
    with pytest.raises(PlanError, match="no calibration token reaches it, so its neurons are all alike"):
        rank(model, "wanda", activations=activations)


def test_broken_activations_are_named():
    model = llama()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(float("inf"))
    with pytest.raises(PlanError, match=r"layers\.\d\.mlp: activations on the calibration text are not finite"):
        measure(model, [[1, 2, 3]])


def test_sequences_are_rows_without_padding_in_one_order():
    batch = padded([[3, 4], [1, 2, 5]], "left")
    assert sequences([batch]) == sequences([[1, 2, 5], [3, 4]]) == [(1, 2, 5), (3, 4)]


class Words:
    """A tokenizer: a word is a token, its length."""

    def __call__(self, line: str) -> SimpleNamespace:
        return SimpleNamespace(input_ids=[len(word) for word in line.split()])


@pytest.fixture
def shown(monkeypatch) -> list[list[int]]:
    """What a model is shown."""
    seen: list[list[int]] = []
    monkeypatch.setattr(calibration, "measure", lambda _, texts: seen.extend(texts))
    return seen


LINES = "a bb ccc\n\ndddd eeeee\nffffff\n"
FEW = "glu_prune.pruning.calibration.LEAST_TOKENS"


def test_all_lines_are_shown_as_they_stand_unless_a_part_is_drawn(tmp_path, shown, monkeypatch):
    monkeypatch.setattr(FEW, 1)
    file = tmp_path / "text.txt"
    file.write_text(LINES)
    measure_on(None, Words(), CalibrationText(file, seed=3))
    assert shown == [[1, 2, 3], [4, 5], [6]]


@given(st.integers(1, 6), st.integers(0, 9))
def test_a_part_has_exactly_so_many_tokens_of_lines_that_a_seed_draws(tmp_path_factory, tokens, seed):
    file = tmp_path_factory.mktemp("texts") / "text.txt"
    file.write_text(LINES)
    with pytest.MonkeyPatch.context() as patch:
        seen: list[list[int]] = []
        patch.setattr(calibration, "measure", lambda _, texts: seen.extend(texts))
        patch.setattr(FEW, 1)
        measure_on(None, Words(), CalibrationText(file, tokens, seed))
    assert sum(map(len, seen)) == tokens
    assert all(any(line[: len(each)] == each for line in ([1, 2, 3], [4, 5], [6])) for each in seen)
    assert seen[:-1] == [each for each in seen[:-1] if each in ([1, 2, 3], [4, 5], [6])], "only the last is cut"


def test_draws_differ_and_can_be_repeated(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("\n".join(map(str, range(40))))
    orders = [tuple(CalibrationText(file, 40, seed).lines()) for seed in (0, 1, 2, 0)]
    assert len(set(orders)) == 3
    assert all(sorted(order) == sorted(orders[0]) for order in orders)


def test_a_handful_of_tokens_is_no_calibration(tmp_path, shown):
    file = tmp_path / "text.txt"
    file.write_text("a bb ccc\n")
    with pytest.raises(PlanError, match=r"calibration by 3 tokens of .*text.txt tells little; show at least 32"):
        measure_on(None, Words(), CalibrationText(file))
    assert shown == []


def test_more_tokens_than_there_are_cannot_be_drawn(tmp_path, shown):
    file = tmp_path / "text.txt"
    file.write_text(LINES)
    with pytest.raises(PlanError, match=r"has 6 of the model's tokens, 7 were asked for: ask for at most 6"):
        measure_on(None, Words(), CalibrationText(file, 7))
    assert shown == []
