"""Keeps what libraries log out of tables."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def errors_only() -> Iterator[None]:
    """`datasets` and the client of the hub log nothing but errors inside."""
    import datasets.utils.logging
    import huggingface_hub.utils.logging

    loggers = datasets.utils.logging, huggingface_hub.utils.logging
    levels = [logger.get_verbosity() for logger in loggers]
    for logger in loggers:
        logger.set_verbosity_error()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.set_verbosity(level)
