"""Served against judged: on an embedded model, and what the committed results and the page say of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from glu_prune.cli import main as glu_prune_main
from glu_prune.models.source import load, locate
from glu_prune.pruning.engines import ENGINES
from tests.helpers import ROOT
from tools.serving import gguf_files, judged, results
from tools.serving.answers import NEW, answers, distance
from tools.serving.speed import speeds

PROMPTS = [[1, 40, 41, 42, 43, 44], [1, 90, 91, 92], [1, 7, 300, 5]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A cut of tiny-base as `prune` writes it."""
    found = tmp_path_factory.mktemp("served") / "cut"
    assert glu_prune_main(["prune", "tiny-base", "--ratio", "0.3", "--out", str(found)]) == 0
    return found


def test_what_transformers_loads_is_what_was_judged_and_the_dense_model_is_not(folder, tmp_path):
    truth = judged.judged("tiny-base", folder, PROMPTS, tmp_path)
    served = answers(judged.loaded("float32", folder), PROMPTS)
    apart = distance(truth, served)
    assert (apart.positions, apart.largest, apart.same_first, apart.same_texts) == (11, 0, 1, 1)
    kept = judged.judged("tiny-base", folder, PROMPTS, tmp_path)  # from the file
    assert distance(truth, kept).largest == 0
    other = distance(truth, answers(judged.loaded("float32", locate("tiny-base").folder), PROMPTS))
    assert other.mean > 0.1
    assert other.largest > other.mean
    assert other.same_texts < 1


def test_log_probabilities_are_those_of_the_next_token(folder):
    model, _ = load(locate(str(folder)), "float32", "cpu")
    found = answers(judged.Transformers(model), PROMPTS[:1])
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor(PROMPTS[:1])).logits[0]
    wanted = torch.log_softmax(logits.double(), -1)[torch.arange(5), torch.tensor(PROMPTS[0][1:])]
    assert np.allclose(found.logprobs, wanted.numpy(), atol=1e-5)
    assert found.first.tolist() == logits[:-1].argmax(-1).tolist()
    text = model.generate(torch.tensor(PROMPTS[:1]), max_new_tokens=NEW, do_sample=False, eos_token_id=None)
    assert found.texts[0].tolist() == text[0, 6:].tolist()


def test_models_are_timed_in_turns():
    turns: list[str] = []

    class Clock:
        def __init__(self, name: str) -> None:
            self.name = name

        def read(self, ids):
            turns.append(self.name)
            return np.zeros((len(ids), 3), np.float32)

        def go_on(self, token):
            return np.zeros(3, np.float32)

    found = speeds({"a": Clock("a"), "b": Clock("b")}, [1, 2], rounds=3)
    assert "".join(turns) == "abbaab"
    assert all(rate > 0 for pair in found.values() for rate in pair)


def test_types_of_a_gguf_file_are_counted(tmp_path):
    gguf = pytest.importorskip("gguf", reason="reads GGUF files")
    file = tmp_path / "a.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((4, 6), np.float16))
    writer.add_tensor("blk.1.ffn_down.weight", np.zeros((4, 6), np.float32))
    writer.add_tensor("blk.0.ffn_up.weight", np.zeros((6, 4), np.float32))
    writer.add_tensor("output_norm.weight", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert gguf_files.types(file) == ("1 F16 1 F32", "1 F32")


def test_the_page_shows_what_was_found_and_what_engines_want():
    """After a run: the table that `python -m tools.serving table` shows."""
    page = (ROOT / "docs" / "serving.md").read_text()
    found = results.read()
    assert f"<!-- table -->\n{results.table(found)}\n<!-- /table -->" in page
    assert {row.engine for row in found} == {"transformers", "llama.cpp", "onnxruntime"}
    assert {row.version for row in found} <= {row.version for row in found if row.version.split()[1] in page}
    assert all(row.machine in page for row in found)
    for name, engine in ENGINES.items():
        (_, best), *rest = engine.steps
        otherwise = "; ".join(f"{step}: {text}" if step > 1 else f"else {text}" for step, text in rest)
        assert f"| `{name}` | {engine.multiple}: {best} | {otherwise} | {engine.source} |" in page


def test_results_are_read_as_they_were_written_and_engines_kept(tmp_path):
    rows, file = results.read(), tmp_path / "a.csv"
    results.write(rows, file)
    assert results.read(file) == rows
    again = [replace(row, mean=1.0) for row in rows if row.engine == "transformers"]
    results.write(again, file)
    assert results.read(file) == [row for row in rows if row.engine != "transformers"] + again
