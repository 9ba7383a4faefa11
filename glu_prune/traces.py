"""What is said of any error: one line; of one that nobody foresaw, with a file that has its whole trace."""

import tempfile
import traceback
from pathlib import Path
from types import TracebackType

from glu_prune.errors import GluPruneError, first_line, shown


def told(error: BaseException) -> str:
    """`error` in one line: ours and the system's about a file as they are, all others with the file of their trace."""
    if isinstance(error, GluPruneError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{shown(error.filename)}: {error.strerror}"
    return f"{first_line(error)}; {_written(error)}"


def _written(error: BaseException) -> str:
    """Where the trace of `error` is now: among temporary files, as what failed may be the folder of the user's own."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="glu-prune-", suffix=".trace", delete=False, errors="replace"
        ) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError as why:
        return f"no trace could be written: {why.strerror}"
    return f"this is not foreseen; the whole trace is in {Path(file.name)}"


def leave_out_lineless(trace: TracebackType) -> None:
    """Cuts from `trace` what comes after its first entry and has no line.

    An interruption may come while Python jumps back to the head of a loop, and the compiler notes no line for some of
    these jumps.
    """
    while trace.tb_next:
        if trace.tb_next.tb_lineno is None:
            trace.tb_next = trace.tb_next.tb_next
        else:
            trace = trace.tb_next
