"""The contract holds on the embedded models and on what was pruned, and notices what it is there to notice."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401  inner sessions forget what they import first

from glu_prune.cli import main
from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.subject import PruningCase, Subject
from glu_prune.errors import ContractError
from glu_prune.pruning import ranking, surgery
from tests.helpers import ROOT
from tests.helpers.models import TOKENS, llama

DATA = Path(os.environ.get("GLU_PRUNE_DATA", ROOT.parent / "shared" / "data")) / "stories260K"


def contract(pytester: pytest.Pytester, model: object, *options: str, apart: bool = False) -> pytest.RunResult:
    """`pytest --glu-contract MODEL` in an empty folder; `apart`, in a process of its own."""
    run = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
    return run(f"--glu-contract={model}", "--glu-contract-examples=3", *options)


@pytest.mark.slow("tries the whole contract on a model of 5 layers")
@pytest.mark.parametrize("model", ["tiny-base", "tiny-instruct"])
def test_it_holds_on_the_embedded_models(pytester, model):
    result = contract(pytester, model)
    result.assert_outcomes(passed=len(PROPERTIES), skipped=1)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not there; GLU_PRUNE_DATA says where data is")
def test_it_holds_on_a_model_that_others_trained(pytester):
    contract(pytester, DATA).assert_outcomes(passed=len(PROPERTIES), skipped=1)


@pytest.mark.slow("tries the whole contract on a model of 5 layers")
def test_it_holds_on_a_pruned_model_and_sees_when_one_neuron_is_swapped(pytester, tmp_path):
    out = tmp_path / "pruned"
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(out)]) == 0
    contract(pytester, out).assert_outcomes(passed=len(PROPERTIES) + 1)
    weights = load_file(out / "model.safetensors")
    down = weights["model.layers.2.mlp.down_proj.weight"]
    down[:, [3, 7]] = down[:, [7, 3]].clone()
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    result = contract(pytester, out)
    result.assert_outcomes(passed=len(PROPERTIES), failed=1)
    result.stdout.fnmatch_lines(["*weights are what pruning wrote: model.layers.2.mlp.down_proj.weight in *"])


@pytest.mark.slow("imports all libraries in a process of its own")
def test_failures_name_the_property_and_print_what_reproduces_them(pytester):
    """The surgery is broken in the process under test: two neurons of every cut down matrix change places."""
    pytester.makeconftest(
        """
        from glu_prune.pruning import surgery

        select = surgery._select

        def swapped(whole, slices, chosen):
            result = select(whole, slices, chosen)
            if slices[0][1].dim == 1 and result.shape[1] > 1:
                result[:, [0, 1]] = result[:, [1, 0]].clone()
            return result

        surgery._select = swapped
        """
    )
    llama(width=12).save_pretrained("small")
    result = contract(pytester, "small", "-k", "silencing or bits", apart=True)
    result.stdout.fnmatch_lines(
        [
            "*ContractError: cutting equals silencing: answers differ by *",
            "*reproduce with:*",
            "*cutting_equals_silencing*(read('small'), PruningCase(*",
        ]
    )
    result.stdout.fnmatch_lines(["*ContractError: kept neurons keep their bits: *weight is not the kept part*"])


def test_an_absent_model_is_one_line(pytester):
    result = contract(pytester, "absent")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: model 'absent' is not on this machine*"])


def test_places_that_are_named_run_beside_the_contract(pytester):
    place = pytester.makepyfile("def test_own(): pass")
    result = contract(pytester, "tiny-base", str(place), "-k", "own or nested")
    result.assert_outcomes(passed=2, deselected=len(PROPERTIES))


SELECT, ATTRIBUTES, FIRST = surgery._select, surgery._set_attributes, ranking._first
CASE = PruningCase(ratio="0.4")


def swap_columns(whole, slices, chosen):
    result = SELECT(whole, slices, chosen)
    if slices[0][1].dim == 1:
        result[:, [0, 1]] = result[:, [1, 0]].clone()
    return result


def shift_a_norm(model, *arguments):
    ATTRIBUTES(model, *arguments)
    model.model.norm.weight.data += 1


def freeze(model, *arguments):
    ATTRIBUTES(model, *arguments)
    model.model.embed_tokens.weight.requires_grad_(False)


def keep_the_least_when_few(order, count):
    return FIRST(order.flip(0) if count < 6 else order, count)


def keep_by_place(order, count):
    return FIRST(torch.arange(len(order)), count)


BREAKS = {
    "cutting_equals_silencing": (surgery, "_select", swap_columns),
    "kept_neurons_keep_their_bits": (surgery, "_select", swap_columns),
    "the_rest_is_untouched": (surgery, "_set_attributes", shift_a_norm),
    "permuting_neurons_changes_nothing": (ranking, "_first", keep_by_place),
    "kept_sets_are_nested": (ranking, "_first", keep_the_least_when_few),
    "steps_compose": (ranking, "_first", keep_by_place),
    "ratio_zero_changes_nothing": (surgery, "_set_attributes", shift_a_norm),
    "undoing_restores_every_bit": (surgery, "_roll_back", lambda undo: undo.pop()()),
    "ties_and_kinds_stay": (surgery, "_set_attributes", freeze),
    "reloading_gives_the_same": (surgery, "_set_configuration", lambda *_: None),
}
"""For each property, a fault in the code under contract that breaks it."""


@pytest.mark.parametrize("name", PROPERTIES)
def test_each_property_can_fail(monkeypatch, name):
    subject = Subject(llama(width=12), {"input_ids": TOKENS})
    PROPERTIES[name](subject, CASE)
    monkeypatch.setattr(*BREAKS[name])
    with pytest.raises((ContractError, RuntimeError), match=f"{name.replace('_', ' ')}|mismatch"):
        PROPERTIES[name](subject, CASE)
