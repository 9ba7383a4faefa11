"""Text that criteria which look at activations are shown: a file with a text per line, whole or a part drawn of it."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path

from glu_prune.errors import PlanError
from glu_prune.files import regular

EVERYDAY = "everyday"
"""In place of a file: the text that this package brings, of some 3,000 tokens, written for it."""
_OURS = Path(__file__).parent / "text" / f"{EVERYDAY}.txt"


def text_file(name: str, folder: Path) -> Path:
    """The file of calibration text that is called so, seen from `folder`.

    Raises:
        PlanError: there is none.
    """
    file = _OURS if name == EVERYDAY else folder / name
    if not file.is_file():
        msg = f"{file} is no file; name one with a text per line, or `{EVERYDAY}`, which this package brings"
        raise PlanError(msg)
    return file


@dataclass(frozen=True)
class CalibrationText:
    """What is shown of a file."""

    file: Path
    tokens: int | None = None
    """At most so many of the model's tokens, of lines in an order that is drawn; None for all lines as they stand."""
    seed: int = 0
    """Draws the order of lines."""

    @property
    def digest(self) -> str:
        """What is the same just where the same is shown: SHA-256 of the file, or of that and of how lines are drawn.

        Raises:
            PlanError: the file cannot be read.
        """
        whole = hashlib.sha256(self._content()).hexdigest()
        if self.tokens is None:
            return whole
        return hashlib.sha256(f"{whole} {self.tokens} {self.seed}".encode()).hexdigest()

    def lines(self) -> list[str]:
        """Its lines in the order in which they are shown, empty ones left out.

        Raises:
            PlanError: the file cannot be read, or is no text.
        """
        try:
            text = self._content().decode()
        except UnicodeDecodeError as error:
            msg = f"{self.file} cannot be read: {error}"
            raise PlanError(msg) from error
        found = [line for line in text.splitlines() if line.strip()]
        if self.tokens is not None:
            random.Random(self.seed).shuffle(found)
        return found

    def _content(self) -> bytes:
        try:
            return regular(self.file).read_bytes()
        except OSError as error:
            msg = f"{self.file} cannot be read: {error.strerror or error}"
            raise PlanError(msg) from error
