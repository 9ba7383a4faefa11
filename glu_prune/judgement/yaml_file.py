"""YAML from anyone: read as nodes, in bounded time and memory, and never as more than data."""

from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 256 * 1024
"""Of a file, some 40 times what the longest of this project has."""
MOST_NODES = 20_000
"""Keys, values and lists together."""
MOST_DEPTH = 16


class _Loader(yaml.SafeLoader):
    """Makes nodes while there are not too many, nor too deep ones; an alias could make many of few."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes, self._depth = 0, 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._nodes, self._depth = self._nodes + 1, self._depth + 1
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias (*) is not allowed here; write out what it stands for")
        if self.peek_event().tag:  # type: ignore[no-untyped-call]
            self._refuse("a tag (!) is not allowed here; values are plain data")
        if self._nodes > MOST_NODES:
            self._refuse(f"more than {MOST_NODES:,} entries are not allowed; split the file")
        if self._depth > MOST_DEPTH:
            self._refuse(f"nesting deeper than {MOST_DEPTH} is not allowed")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def _refuse(self, complaint: str) -> None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        raise yaml.composer.ComposerError(None, None, complaint, mark)


def compose(path: Path) -> yaml.Node | None:
    """The nodes of the file `path`; None if it is empty.

    Raises:
        OSError: it is missing, or cannot be read.
        ValueError: it is no regular file, too large, or not in UTF-8.
        yaml.YAMLError: it is no YAML, or has more in it than is allowed.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        msg = "it is no regular file"
        raise ValueError(msg)
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        msg = f"more than {MOST_BYTES // 1024} KiB are not allowed; split the file"
        raise ValueError(msg)
    loader = _Loader(data.decode("utf-8"))
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
