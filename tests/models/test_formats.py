"""Which format a folder has, and what is said of one that has none."""

import pytest

from glu_prune.errors import CheckpointError
from glu_prune.models import stock
from glu_prune.models.formats import FORMATS, recognised, write_stock
from glu_prune.models.source import MODELS, ModelSource
from tests.helpers.llama2c import write_checkpoint


def test_a_folder_has_one_format(tmp_path):
    write_checkpoint(tmp_path / "tiny")
    for folder in (MODELS / "tiny-base", tmp_path / "tiny"):
        assert [each for each in FORMATS if recognised(folder) is each] == [ModelSource("x", folder).format]
    assert recognised(tmp_path) is recognised(tmp_path / "absent") is None
    assert ModelSource("x", tmp_path).format is stock


@pytest.mark.parametrize("format_", FORMATS, ids=lambda each: each.NAME)
def test_what_is_not_of_a_format_is_refused_with_its_name(format_, tmp_path):
    for read in (format_.refuse, format_.digest, format_.read_config, format_.weight_bytes, format_.read_model):
        with pytest.raises(CheckpointError, match=str(tmp_path)):
            read(tmp_path)


def test_only_other_formats_are_converted(tmp_path):
    with pytest.raises(CheckpointError, match="is a stock checkpoint already"):
        write_stock(MODELS / "tiny-base", tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"holds 0 whole llama2\.c models"):
        write_stock(tmp_path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
