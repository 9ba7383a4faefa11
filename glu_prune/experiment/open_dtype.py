"""The data type of a model where the user leaves that open: chosen once for a machine, and kept in the store."""

from collections.abc import Callable
from dataclasses import asdict, replace

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Settings
from glu_prune.experiment.keys import dtype_key
from glu_prune.experiment.store import Store
from glu_prune.models.dtypes import AUTO
from glu_prune.models.source import ModelSource


def settled(settings: Settings, source: ModelSource, store: Store, say: Callable[[str], None]) -> Settings:
    """`settings` with the data type that `source` is run in; keys and records never hold `auto`.

    What was chosen is kept in `store`, so that the next session has the same keys; where that cannot be written, it is
    chosen anew. `say` is called with a line about a choice that is made now.

    Raises:
        EvaluationError: the data type is left open for another device than the processor, or for a backend.
        StoreError: the store is of another version.
        CheckpointError: the model cannot be loaded.
    """
    if settings.dtype != AUTO:
        return settings
    refuse_elsewhere(settings)

    def choose() -> dict[str, str]:
        from glu_prune.evaluation.half_precision import choose

        found = choose(source, settings.attention)
        say(f"{source.name}: {AUTO} is {found.dtype}: {found.why}")
        return asdict(found)

    found = store.chosen(dtype_key(source, settings), choose)
    return replace(settings, dtype=found["dtype"], dtype_why=found["why"])


def refuse_elsewhere(settings: Settings) -> None:
    """Raises `EvaluationError` if data types cannot be compared where models are to run."""
    if settings.dtype == AUTO and (settings.backend or settings.device_map or settings.device != "cpu"):
        where = f"backend {settings.backend}" if settings.backend else settings.device_map or settings.device
        msg = f"dtype {AUTO!r} compares data types on the device cpu; for {where}, name one, such as bfloat16"
        raise EvaluationError(msg)
