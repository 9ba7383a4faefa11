"""Ready trackers: each module has the hook `pytest_glu_report` for the library of its name; `--glu-track` names one."""

import importlib
from importlib.util import find_spec
from types import ModuleType

from glu_prune.errors import NotReadyError


def tracker(name: str) -> ModuleType:
    """The plugin that logs to the library `name`.

    Raises:
        NotReadyError: the library is not installed.
    """
    if find_spec(name) is None:
        msg = f"--glu-track {name} needs a library that is not installed: pip install 'glu-prune[{name}]'"
        raise NotReadyError(msg)
    return importlib.import_module(f"{__name__}.{name}")
