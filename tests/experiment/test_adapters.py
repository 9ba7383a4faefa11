"""Adapters of PEFT as arms: what they are merged into, what identifies them, and what cannot be one."""

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from glu_prune.errors import CheckpointError, ExpectationError
from glu_prune.experiment.cell import DENSE, Arm, Settings
from glu_prune.experiment.executors.arms import Arms
from glu_prune.judgement.expectation import read
from glu_prune.models.adapter import CONFIG, WEIGHTS, merged
from glu_prune.models.source import load, locate
from glu_prune.pruning.surgery import prune

CUT = Arm("l2", Decimal("0.2"))
FILE = """\
model: tiny-base
criterion: l2
ratios: [0.2]
arms:
  tuned: {adapter: lora, on: dense}
  cut: {adapter: lora, on: 0.2}
expect:
  - {capability: reading, direction: kept, margin: 0.1, why: w}
"""


def model(name: str = "tiny-base"):
    return load(locate(name), "float32", "cpu")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An adapter of the attention of tiny-base that was not trained, but is not zero."""
    found = tmp_path_factory.mktemp("adapter") / "lora"
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(model(), config).save_pretrained(found)
    return found


def logits(found) -> torch.Tensor:
    with torch.inference_mode():
        return found(torch.arange(5, 45)[None]).logits


def test_an_adapter_is_merged_as_peft_itself_applies_it(folder):
    arms = Arms(locate("tiny-base"), Settings())
    tuned = logits(arms.prepared(Arm(adapter=folder)).model)
    assert torch.allclose(tuned, logits(PeftModel.from_pretrained(model(), str(folder))), atol=1e-4)
    assert not torch.allclose(tuned, logits(arms.prepared(DENSE).model), atol=1e-2)
    narrow = model()
    prune(narrow, "0.2", criterion="l2")
    cut = logits(arms.prepared(Arm("l2", Decimal("0.2"), adapter=folder)).model)
    assert torch.allclose(cut, logits(PeftModel.from_pretrained(narrow, str(folder))), atol=1e-4)
    assert torch.equal(logits(arms.prepared(DENSE).model), logits(model())), "the dense model is left as it was"


def test_its_weights_identify_it_and_not_where_it_lies(folder, tmp_path):
    moved, other = tmp_path / "moved", tmp_path / "other"
    shutil.copytree(folder, moved)
    shutil.copytree(folder, other)
    config = json.loads((other / CONFIG).read_text())
    (other / CONFIG).write_text(json.dumps({**config, "lora_alpha": 99}))
    digests = [Arm(adapter=each).adapter_digest for each in (folder, moved, other)]
    assert digests[0] == digests[1] != digests[2]
    assert Arm("l2", Decimal("0.2"), adapter=folder).label == f"l2-0.2 + adapter {digests[0][:8]}"


def test_an_adapter_of_another_shape_is_refused_in_one_line(folder):
    narrow = model()
    narrow.model.layers[0].self_attn.q_proj = torch.nn.Linear(8, 8, bias=False)
    with pytest.raises(CheckpointError, match="lora does not fit the model: ") as caught:
        merged(narrow, folder)
    assert "\n" not in str(caught.value)


def test_a_file_names_adapters_beside_what_they_are_on(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "lora")
    (tmp_path / "claims.yaml").write_text(FILE)
    plain, tuned, cut = (case.arm for case in read(tmp_path / "claims.yaml"))
    assert plain == CUT
    assert (tuned, cut) == (Arm(adapter=tmp_path / "lora"), Arm("l2", Decimal("0.2"), adapter=tmp_path / "lora"))
    assert (tuned.name, cut.name) == ("tuned", "cut")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("{adapter: lora, on: dense}", "{adapter: lora}", r":5: arms.tuned: .*name both"),
        ("{adapter: lora, on: dense}", "{adapter: none, on: dense}", rf":5: .*none has no {CONFIG}"),
        ("{adapter: lora, on: dense}", "{adapter: lora, on: 0.3}", r"arms: tuned is on 0.3, which is no other arm of this file"),
        ("{adapter: lora, on: dense}", "{adapter: lora, on: cut}", r"arms: tuned is on cut, .* or an adapter itself"),
        ("{adapter: lora, on: dense}", "{adapter: lora, on: dense, ratio: 0.2}", r":5: arms.tuned: .*leave out ratio"),
        ("{adapter: lora, on: 0.2}", "{adapter: lora, on: dense}", r":6: cut is the same model as tuned"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(folder, tmp_path, old, new, complaint):
    shutil.copytree(folder, tmp_path / "lora")
    (tmp_path / "claims.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(ExpectationError) as caught:
        read(tmp_path / "claims.yaml")
    assert re.search(complaint, str(caught.value)), caught.value


def test_weights_that_need_unpickling_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "lora")
    (tmp_path / "lora" / WEIGHTS).rename(tmp_path / "lora" / "adapter_model.bin")
    with pytest.raises(CheckpointError, match=f"has no {WEIGHTS}"):
        merged(model(), tmp_path / "lora")
