"""`--glu-data` and `--glu-offline` hold in pytest's process and in xdist's workers, and for no longer than the session."""

import os

import pytest

from glu_prune.evaluation.local_data import VARIABLE
from glu_prune.readiness.network import VARIABLES


@pytest.fixture
def unset(monkeypatch):
    for name in (VARIABLE, *VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "worker"])
def test_a_data_folder_is_named_for_the_session(pytester, unset, workers):
    folder = pytester.mkdir("data")
    pytester.makepyfile(f"import os\n\ndef test_it():\n    assert os.environ[{VARIABLE!r}] == {str(folder)!r}")
    pytester.runpytest_inprocess("--glu-data=data", *workers).assert_outcomes(passed=1)
    assert VARIABLE not in os.environ


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["here", "worker"])
def test_a_session_is_offline_for_as_long_as_it_lasts(pytester, unset, workers):
    pytester.makepyfile(
        "import os\nimport huggingface_hub\n\ndef test_it():\n"
        f"    assert [os.environ[name] for name in {VARIABLES!r}] == ['1'] * 3\n"
        "    assert huggingface_hub.is_offline_mode()"
    )
    pytester.runpytest_inprocess("--glu-offline", *workers).assert_outcomes(passed=1)
    assert not set(VARIABLES) & set(os.environ)


def test_a_folder_that_is_none_is_a_usage_error_of_one_line(pytester, unset):
    pytester.makepyfile("def test_it():\n    pass")
    result = pytester.runpytest_inprocess("--glu-data=absent")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.outlines == []
    (line,) = filter(None, result.errlines)
    assert (
        line
        == f"ERROR: --glu-data is '{pytester.path / 'absent'}', which is no folder; name a folder of benchmark data"
    )
