"""Keeps the Hugging Face libraries, and through them everything here, from opening a connection."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
"""What the libraries read when they are imported, here and in processes that are started from here."""
_CONSTANTS = (
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
)
"""Where they keep it: module and name."""
_TRUE = ("1", "ON", "YES", "TRUE")


def is_offline() -> bool:
    """Whether the libraries are kept from opening a connection."""
    from huggingface_hub import is_offline_mode

    return bool(is_offline_mode())


@contextmanager
def offline() -> Iterator[None]:
    """No connection is opened inside, whether the libraries were imported before or are imported within."""
    environment = {variable: os.environ.get(variable) for variable in VARIABLES}
    was = any((value or "").upper() in _TRUE for value in environment.values())
    constants = {place: getattr(sys.modules[place[0]], place[1]) for place in _CONSTANTS if place[0] in sys.modules}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    _set(dict.fromkeys(_CONSTANTS, True))
    try:
        yield
    finally:
        for variable, value in environment.items():
            os.environ.pop(variable) if value is None else os.environ.update({variable: value})
        _set({place: constants.get(place, was) for place in _CONSTANTS})


def _set(values: Mapping[tuple[str, str], bool]) -> None:
    for (module, name), value in values.items():
        if module in sys.modules:
            setattr(sys.modules[module], name, value)
