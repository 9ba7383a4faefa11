import subprocess
import sys
from pathlib import Path


def test_everything_that_is_timed_is_there():
    program = "from benchmarks.profiling import Clock, watch; watch(Clock())"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
