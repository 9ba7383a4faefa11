import os
import shutil
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers.tokenization_utils_base import (
    ADDED_TOKENS_FILE,
    FULL_TOKENIZER_FILE,
    SPECIAL_TOKENS_MAP_FILE,
    TOKENIZER_CONFIG_FILE,
)
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    ADAPTER_WEIGHTS_NAME,
    CHAT_TEMPLATE_DIR,
    CHAT_TEMPLATE_FILE,
    CONFIG_NAME,
    GENERATION_CONFIG_NAME,
    LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE,
    PROCESSOR_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
)

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.files import files_below
from glu_prune.models.source import MODELS, ModelSource, identity, load, locate
from glu_prune.pruning import checkpoint


def test_embedded_models_and_folders_are_found(tmp_path, no_sockets):
    assert locate("tiny-base").folder == MODELS / "tiny-base"
    shutil.copytree(MODELS / "tiny-base", tmp_path / "mine")
    assert locate(str(tmp_path / "mine")).folder == tmp_path / "mine"


@pytest.mark.parametrize("name", ["nobody/nothing-7b", "absent", "", "../tiny-base", "a/b/c", "bad name/x?"])
def test_absent_models_say_how_to_get_them(name, no_sockets):
    with pytest.raises(ModelNotFoundError, match=r"not on this machine.*tiny-base.*hf download"):
        locate(name)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with a model that has the name of an embedded one, and a fetched one that has a folder's."""
    monkeypatch.chdir(tmp_path)
    for name in ("tiny-base", "mine", "owner/name"):
        shutil.copytree(MODELS / "tiny-instruct", tmp_path / name)
    snapshot = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(MODELS / "tiny-instruct", snapshot / "snapshots" / ("0" * 40))
    (snapshot / "refs").mkdir()
    (snapshot / "refs" / "main").write_text("0" * 40)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELS", str(tmp_path))
    return tmp_path


@pytest.fixture
def fetched(here, monkeypatch) -> None:
    """The hub's cache is that of this test."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(here / "hub"))


PATHS = ["./{}", "{}/", "../{here.name}/{}", "{here}/{}", "$MODELS/{}", "${{MODELS}}/{}", "~/{}", "./{}/../{}"]


@pytest.mark.parametrize("name", ["tiny-base", "owner/name"])
@pytest.mark.parametrize("path", PATHS)
def test_what_is_written_as_a_path_is_that_folder(here, no_sockets, fetched, name, path):
    written = (
        path.format(name, name.split("/")[-1], here=here) if path.count("{}") > 1 else path.format(name, here=here)
    )
    assert locate(written).folder.resolve() == here / name
    assert identity(written) == str(here / name)


@pytest.mark.parametrize(("name", "kind"), [("tiny-base", "an embedded model"), ("owner/name", "a model fetched from")])
def test_a_name_of_two_models_is_refused(here, fetched, no_sockets, name, kind):
    with pytest.raises(ModelNotFoundError, match=f"{kind}.* and also a folder here; write ./{name} for the folder"):
        locate(name)
    shutil.rmtree(here / name)
    assert locate(name).folder != here / name
    assert identity(name) == name


@pytest.mark.parametrize(("name", "kind"), [("tiny-instruct", "an embedded model"), ("mine", "a folder")])
def test_a_revision_of_what_has_none_is_refused(here, name, kind):
    with pytest.raises(ModelNotFoundError, match=f"is {kind}, which has no revisions; leave out the revision 'v2'"):
        locate(name, "v2")


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "x/" * 3000, "loop", "\ud800", "~nosuch/x", "$UNSET", "${X", "."])
def test_what_no_folder_can_be_called_is_not_here(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert identity(name)
    with pytest.raises(ModelNotFoundError, match="is not on this machine"):
        locate(name)


def test_ways_to_write_a_folder_are_one_model(here):
    (here / "link").symlink_to(here / "mine")
    every = {
        identity(each) for each in ("mine", "./mine", "mine/", "link", "$MODELS/mine", "~/mine", str(here / "mine"))
    }
    assert every == {str(here / "mine")}
    assert identity("nobody/nothing") == "nobody/nothing"
    assert {identity(each) for each in ("gone", "gone/", "./gone", "gone/.")} == {str(here / "gone")}


def test_the_same_files_have_the_same_fingerprint(tmp_path):
    shutil.copytree(MODELS / "tiny-base", tmp_path / "copy")
    (tmp_path / "copy" / "notes.md").write_text("a comment changes nothing")
    assert ModelSource("x", tmp_path / "copy").fingerprint == locate("tiny-base").fingerprint
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert ModelSource("x", tmp_path / "copy").fingerprint != locate("tiny-base").fingerprint


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors weights; pickled weights are not read"):
        _ = locate(str(tmp_path)).fingerprint


def test_what_is_no_model_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no usable configuration: Unrecognized model"):
        load(locate(str(tmp_path)), "float32", "cpu")


READ = [
    *(
        CONFIG_NAME,
        GENERATION_CONFIG_NAME,
        SAFE_WEIGHTS_NAME,
        SAFE_WEIGHTS_INDEX_NAME,
        "model-00001-of-00002.safetensors",
    ),
    *(TOKENIZER_CONFIG_FILE, FULL_TOKENIZER_FILE, SPECIAL_TOKENS_MAP_FILE, ADDED_TOKENS_FILE, "tokenizer.model"),
    *("vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model", "tekken.json"),
    *(CHAT_TEMPLATE_FILE, f"{CHAT_TEMPLATE_DIR}/tool_use.jinja", LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE, PROCESSOR_NAME),
    *(ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME, "preprocessor_config.json"),
    *("modeling_mine.py", "configuration_mine.py", "code/of_it.py", "quantize_config.json", "hf_quant_config.json"),
    *("a file of a later version", "folder/of a later version"),
]
NOT_READ = [
    *("README.md", "LICENSE", "training_log.csv", ".gitattributes", ".cache/huggingface/download/x.metadata"),
    *("pytorch_model.bin", "original/consolidated.00.pth", "onnx/model.onnx", "checkpoint-500/optimizer.pt"),
]


@pytest.mark.parametrize("name", READ)
def test_every_file_that_a_loader_may_read_changes_the_fingerprint(tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    (folder / name).parent.mkdir(exist_ok=True)
    source, found = ModelSource("x", folder), [locate("tiny-base").fingerprint]
    for content in (b"one", b"two"):
        (folder / name).write_bytes(content)
        found.append(source.fingerprint)
    (folder / name).rename(folder / f"{name}.other")
    assert len({*found, source.fingerprint if name != SAFE_WEIGHTS_NAME else ""}) == 4


@pytest.mark.parametrize("name", NOT_READ)
def test_what_no_loader_reads_changes_no_fingerprint(tmp_path, name):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    (folder / name).parent.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text("something")
    assert ModelSource("x", folder).fingerprint == locate("tiny-base").fingerprint


def test_a_model_within_its_folder_is_another_one(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    shutil.copytree(MODELS / "tiny-instruct", folder / "cuts" / "pruned")
    assert ModelSource("x", folder).fingerprint == locate("tiny-base").fingerprint
    assert ModelSource("y", folder / "cuts" / "pruned").fingerprint == locate("tiny-instruct").fingerprint


def test_a_link_to_a_folder_above_ends(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    (folder / "again").symlink_to(folder)
    assert ModelSource("x", folder).fingerprint == locate("tiny-base").fingerprint


def test_a_folder_that_two_links_lead_to_is_in_it_under_both_names(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "tool_use.jinja").write_text("{{ messages }}")
    found = {locate("tiny-base").fingerprint}
    for name in ("another", CHAT_TEMPLATE_DIR):
        (folder / name).symlink_to(tmp_path / "templates")
        found.add(ModelSource("x", folder).fingerprint)
    assert len(found) == 3


def test_a_file_that_was_changed_long_ago_is_read_once_and_again_when_its_times_change(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-base", folder)
    weights, source = folder / "model.safetensors", ModelSource("x", folder)
    before = source.fingerprint
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    stat = weights.stat()
    weights.write_bytes(content)
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert source.fingerprint != before


_opened: list[str] | None = None


def _listen(event: str, arguments: tuple) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        _opened.append(os.fspath(arguments[0]))


def test_all_that_transformers_opens_is_in_the_fingerprint(tmp_path):
    """Whatever is read by Python, by the installed version: weights are opened by safetensors, out of its sight."""
    global _opened
    folder = tmp_path / "copy"
    shutil.copytree(MODELS / "tiny-instruct", folder)
    for name in (CHAT_TEMPLATE_FILE, f"{CHAT_TEMPLATE_DIR}/tool_use.jinja"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{{ messages }}")
    for name in (SPECIAL_TOKENS_MAP_FILE, ADDED_TOKENS_FILE):
        (folder / name).write_text("{}")
    sys.addaudithook(_listen)
    _opened = []
    try:
        load(locate(str(folder)), "float32", "cpu")
        read = {Path(each) for each in _opened if str(each).startswith(str(folder)) and Path(each).is_file()}
    finally:
        _opened = None
    assert {"config.json", CHAT_TEMPLATE_FILE, "tool_use.jinja"} <= {each.name for each in read}
    assert read <= set(files_below(folder, checkpoint._has_no_part))
