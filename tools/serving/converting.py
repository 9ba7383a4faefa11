"""Running what converts a checkpoint for an engine."""

import subprocess
from collections.abc import Sequence

from glu_prune.errors import CheckpointError


def convert(command: Sequence[str], refused: str) -> None:
    """Runs `command`.

    Raises:
        CheckpointError: it ended badly: `refused`, and the last line that it wrote.
    """
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        *_, last = ("", *run.stderr.strip().splitlines())
        msg = f"{refused}: {last or f'code {run.returncode}'}"
        raise CheckpointError(msg)
