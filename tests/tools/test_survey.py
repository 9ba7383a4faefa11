"""Every family of the installed transformers, cut and checked against the whole contract."""

import pytest
import transformers

from glu_prune.cli import main
from glu_prune.commands.families import families_table
from glu_prune.models.families import recorded
from glu_prune.pruning.blocks import find_blocks
from tests.helpers import ROOT
from tools.survey import tiny
from tools.survey.__main__ import main as survey
from tools.survey.prove import prove

RECORD = recorded()
STATUS = {each.family: each.status for each in RECORD.families}
PROVEN = [family for family, status in STATUS.items() if status == "proven"]


builds = pytest.mark.slow("builds a model of every family")


@builds
@pytest.mark.parametrize("family", PROVEN)
def test_the_contract_holds_for(family):
    found = prove(family)
    assert found.status == "proven", found.why


def test_the_table_is_of_the_pinned_transformers_and_complete():
    assert f"transformers=={RECORD.transformers}" in (ROOT / "constraints.txt").read_text().splitlines()
    if RECORD.transformers != transformers.__version__:
        pytest.skip(f"the families of {RECORD.transformers} are not those of {transformers.__version__}")
    assert tuple(STATUS) == tiny.FAMILIES


def test_at_least_95_families_are_proven():
    assert len(PROVEN) >= 95


@pytest.mark.parametrize(
    "family",
    [
        family if family in ("gpt2", "bert") else pytest.param(family, marks=builds)
        for family, status in STATUS.items()
        if status == "no GLU"
    ],
)
def test_families_without_a_glu_are_told_so(family):
    assert prove(family).status == "no GLU"


@pytest.mark.parametrize(
    ("family", "layout"),
    [
        *[
            (name, "gate_proj, up_proj, down_proj")
            for name in ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2")
        ],
        *[(name, "gate_proj, up_proj, down_proj") for name in ("gemma3", "gemma3_text", "olmo2", "granite", "smollm3")],
        ("phi3", "gate_up_proj, down_proj"),
        ("glm4", "gate_up_proj, down_proj"),
        ("t5", "wi_0, wi_1, wo"),
        ("modernbert", "Wi, Wo"),
        ("lfm2", "w1, w3, w2"),
        ("mixtral", "experts gate_up_proj, down_proj"),
        ("qwen3_moe", "experts gate_up_proj, down_proj"),
        ("deepseek_v3", "gate_proj, up_proj, down_proj, and experts gate_up_proj, down_proj"),
        ("gpt_oss", "experts gate_up_proj, down_proj transposed interleaved"),
        ("dbrx", "experts w1, v1, w2"),
    ],
)
def test_the_layouts_are_in_the_table(family, layout):
    found = next(each for each in RECORD.families if each.family == family)
    assert found.status == "proven"
    assert layout in found.layouts


def test_tiny_models_have_biases_where_their_family_can():
    for family in ("llama", "granite", "recurrent_gemma", "gpt_oss"):
        assert any("bias" in slot.parameter for block in find_blocks(tiny.build(family)) for slot in block.other_slices)


def test_the_documentation_shows_the_table():
    assert families_table(RECORD, "pipe") in (ROOT / "docs" / "families.md").read_text()


def test_the_command_shows_the_table(capsys):
    assert main(["families"]) == 0
    assert f"{len(PROVEN)} proven" in capsys.readouterr().out


def test_families_that_are_named_are_proven_and_not_recorded(capsys):
    assert survey(["llama", "gpt2"]) == 0
    assert "1 proven, 0 not supported, 1 no GLU" in capsys.readouterr().out
    assert recorded() == RECORD
    with pytest.raises(SystemExit):
        survey(["lama"])
    assert "'lama' is no model type of transformers" in capsys.readouterr().err
