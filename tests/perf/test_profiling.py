import subprocess
import sys

from tests.helpers import ROOT


def test_everything_that_is_timed_is_there():
    program = "from perf.profiling import Clock, watch; watch(Clock())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
