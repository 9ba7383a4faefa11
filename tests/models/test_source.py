import shutil

import pytest

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models.source import MODELS, ModelSource, load, locate


def test_embedded_models_and_folders_are_found(tmp_path, no_sockets):
    assert locate("tiny-base").folder == MODELS / "tiny-base"
    shutil.copytree(MODELS / "tiny-base", tmp_path / "mine")
    assert locate(str(tmp_path / "mine")).folder == tmp_path / "mine"


@pytest.mark.parametrize("name", ["nobody/nothing-7b", "absent", "", "../tiny-base", "a/b/c", "bad name/x?"])
def test_absent_models_say_how_to_get_them(name, no_sockets):
    with pytest.raises(ModelNotFoundError, match=r"not on this machine.*tiny-base.*hf download"):
        locate(name)


def test_the_same_files_have_the_same_fingerprint(tmp_path):
    shutil.copytree(MODELS / "tiny-base", tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("a comment changes nothing")
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
