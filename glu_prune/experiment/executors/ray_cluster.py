"""A Ray cluster: how it is joined or started, and the process that answers on a machine of it."""

import os
import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil

from glu_prune import errors
from glu_prune.errors import EvaluationError, NotReadyError
from glu_prune.experiment.jobs import Job
from glu_prune.experiment.machine import cores, gpus

_CLUSTER = "gp-"
"""Begins the name of the folder of a cluster that was started here; the number of its process follows."""
_FOLDER = re.compile(rf"{_CLUSTER}(\d+)-\w+")
Outcome = tuple[str, str, tuple[bytes, ...]]
"""The kind of an error and what it says, both empty if there was none, and records."""


class Remote:
    """The other end, in a process of a machine of the cluster."""

    def __init__(self, started_in: str, env: dict[str, str]) -> None:
        """Works in the folder of the driver, where that is here, too, with its variables."""
        os.environ.update(env)
        if Path(started_in).is_dir():
            os.chdir(started_in)
        from glu_prune.efficiency.meter import NoMeter
        from glu_prune.experiment.executors.local import LocalExecutor
        from glu_prune.experiment.scratch import scratch

        self._open = ExitStack()
        folder = self._open.enter_context(scratch(Path(tempfile.gettempdir())))
        meter = NoMeter("not measured: cells run side by side on a cluster; measure without --glu-executor")
        self._executor = LocalExecutor(folder, meter, lambda _: None)

    def where(self) -> tuple[str, str]:
        """The machine that it is on, as Ray numbers it, and the kind of its GPUs."""
        import ray

        return str(ray.get_runtime_context().get_node_id()), gpus()

    def run(self, text: str) -> Outcome:
        """The records of a job, or the error that it failed with."""
        try:
            return "", "", self._executor.submit(text).result()
        except errors.GluPruneError as error:
            return type(error).__name__, str(error), ()
        except Exception as error:  # noqa: BLE001 - it is this cell's, and the others go on
            return EvaluationError.__name__, f"{Job.from_json(text).answers[0]}: {errors.first_line(error)}", ()

    def close(self) -> None:
        """Frees its model, and removes what it wrote."""
        self._executor.shutdown()
        self._open.close()


def connected(address: str, open_: ExitStack) -> Any:
    """Ray, connected until `open_` is closed."""
    try:
        import ray
    except ImportError as error:
        msg = "--glu-executor ray needs Ray, which is not installed: pip install 'glu-prune[ray]'"
        raise NotReadyError(msg) from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    own: dict[str, Any] = (
        {} if address else {"_temp_dir": _folder(open_), "num_cpus": cores(), "include_dashboard": False}
    )
    try:
        ray.init(address=address or None, **own, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {address}" if address else "on this machine"
        msg = f"no Ray cluster {where}: {errors.first_line(error)}; `ray start --head` starts one"
        raise NotReadyError(msg) from error
    open_.callback(ray.shutdown)
    return ray


def _folder(open_: ExitStack) -> str:
    """A folder for a cluster of this process, removed with it; those of processes that were killed are removed, too.

    Its name is short, as Ray puts sockets below it, whose paths may have 107 characters.
    """
    parent = Path("/tmp" if os.name == "posix" else tempfile.gettempdir())
    for each in parent.glob(f"{_CLUSTER}*"):
        named = _FOLDER.fullmatch(each.name)
        # Ours alone: a folder of that name which Ray has written to, and whose process is gone.
        if named and (each / "session_latest").is_symlink() and not psutil.pid_exists(int(named[1])):
            shutil.rmtree(each, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{_CLUSTER}{os.getpid()}-", dir=parent)
    open_.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
