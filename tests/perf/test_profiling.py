import subprocess
import sys

import pytest

from tests.helpers import ROOT


@pytest.mark.slow("imports all libraries in a process of its own")
def test_everything_that_is_timed_is_there():
    program = "from perf.profiling import Clock, watch; watch(Clock())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
