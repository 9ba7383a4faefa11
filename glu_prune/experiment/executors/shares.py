"""What of a machine one worker of a cluster takes, and how people say it."""

from dataclasses import dataclass, replace
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Settings


@dataclass(frozen=True)
class Share:
    """What of a machine one worker takes."""

    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    """In bytes, which Ray sets aside by their number; None: as Ray says."""
    accelerator: str | None = None
    """A kind of accelerator, as Ray names it, to which all workers are bound."""

    @property
    def options(self) -> dict[str, Any]:
        """For an actor of Ray."""
        found: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        if self.memory is not None:
            found["memory"] = self.memory
        if self.accelerator is not None:
            found["accelerator_type"] = self.accelerator
        return found

    def times(self, there: dict[str, float]) -> int:
        """How many of them what is `there` holds."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}
        return int(min(there.get(name, 0) // each for name, each in wanted.items() if each))


def refuse_other_gpus(share: Share, here: str, there: str) -> None:
    """Raises `EvaluationError` for a worker with another kind of GPU, `there`, than the machine that asks has, `here`.

    Keys name the kind of GPU, so that its records would be of cells that nobody asked for.
    """
    if share.gpus and here != there:
        msg = (
            f"a machine of the cluster has {there or 'no GPU'}, this one {here or 'none'}; arms of different "
            "accelerators are never paired: run pytest on a machine like those that compute, and name one kind with "
            "--glu-ray-worker accelerator=NAME"
        )
        raise EvaluationError(msg)


def share_of(text: str, settings: Settings) -> Share:
    """What `cpus=2,memory=8e9,gpus=1,accelerator=A100` says; by default a core, or a GPU where models run on one.

    Raises:
        ValueError: it says something else.
    """
    found = Share(gpus=float(settings.device != "cpu"))
    for each in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in each.partition("="))
        if name not in ("cpus", "gpus", "memory", "accelerator") or not value:
            msg = f"{each!r}: write cpus=N, gpus=N, memory=BYTES or accelerator=NAME, with commas between them"
            raise ValueError(msg)
        changed: dict[str, Any] = {name: value if name == "accelerator" else _number(name, value)}
        found = replace(found, **changed)
    return found


def _number(name: str, value: str) -> float | int:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        msg = f"{name}={value}: it is a number of {'bytes' if name == 'memory' else name}"
        raise ValueError(msg)
    return int(number) if name == "memory" else number
