"""lm-eval's other models, such as vLLM: named, checked before anything loads, and loaded from a folder."""

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import EvaluationError, did_you_mean, first_line
from glu_prune.evaluation.data_digest import files_digest
from glu_prune.evaluation.third_party import errors_as_one_line, muted
from glu_prune.files import content_digest, files_below

if TYPE_CHECKING:
    from glu_prune.evaluation.backend_lm import BackendLM

_FOLDER = "pretrained"
"""The argument of lm-eval's models for the folder of weights."""
_OURS: Mapping[str, str] = {
    _FOLDER: "it is the model that is evaluated",
    "tokenizer": "it is that of the model that is evaluated",
    "dtype": "set it with --glu-dtype, so that records tell it",
    "device": "set it with --glu-device, so that records tell it",
    "trust_remote_code": "code that comes with a model is never run",
}
"""Arguments that users must not give, and why."""
_REMOTE = "lm_eval.models.api_models"
"""The module of lm-eval's models that ask a server: their `pretrained` only says what the server's model is called."""
_BASES = "lm_eval.api.model"
"""The module of the base classes of all lm-eval models, whose constructors take nothing."""


@dataclass(frozen=True)
class Backend:
    """One of lm-eval's registered models, with arguments for it."""

    name: str
    """As lm-eval registers it."""
    arguments: tuple[tuple[str, str], ...] = ()
    """Name and value, as they were written."""

    @classmethod
    def parse(cls, text: str) -> "Backend":
        """Reads `NAME[,key=value,...]`; imports nothing.

        Raises:
            EvaluationError: it is malformed, or gives an argument that is not the user's.
        """
        name, *pieces = (piece.strip() for piece in text.split(","))
        found: dict[str, str] = {}
        for piece in pieces:
            key, equals, value = (part.strip() for part in piece.partition("="))
            if key in _OURS:
                msg = f"backend {text!r} must not set {key}: {_OURS[key]}"
                raise EvaluationError(msg)
            if not (equals and value and key.isidentifier()) or key in found:
                msg = (
                    f"backend {text!r} is not allowed at {piece!r}; write NAME or NAME,key=value,... with each key once"
                )
                raise EvaluationError(msg)
            found[key] = value
        if not name or "=" in name:
            msg = f"backend {text!r} has no name; write NAME or NAME,key=value,..., such as hf"
            raise EvaluationError(msg)
        return cls(name, tuple(found.items()))

    @property
    def versions(self) -> dict[str, str]:
        """Versions of what is installed of the packages that this backend is made of."""
        return {package: found for package in (self.name, *_extra(self.name)) if (found := _version(package))}

    @property
    def identity(self) -> str:
        """As it is written, but that a value which names a file or a folder is the digest of its content.

        Raises:
            EvaluationError: one of these cannot be read.
        """
        return ",".join((self.name, *(f"{key}={self._identity(key, value)}" for key, value in self.arguments)))

    def _identity(self, key: str, value: str) -> str:
        path = Path(value)
        try:
            if os.path.isdir(value):  # noqa: PTH112 - any text may be a value, and pathlib raises for some
                return f"sha256:{files_digest(path, sorted(files_below(path)))}"
            return f"sha256:{content_digest(path).hex()}" if os.path.isfile(value) else value  # noqa: PTH113
        except OSError as error:
            msg = f"backend {self.name!r}: {key}={value} cannot be read: {error.strerror or error}"
            raise EvaluationError(msg) from error

    def check(self) -> None:
        """Checks the backend without loading a model; imports its packages.

        Raises:
            EvaluationError: lm-eval has no such backend, a package is missing, it loads no folder, or it does not take
                one of the arguments.
        """
        self._constructor()

    def _constructor(self) -> tuple[Any, set[str]]:
        """The class, and the names of the arguments that it takes one by one."""
        kind = _registered(self.name)
        named, others = _parameters(kind)
        if _FOLDER not in named or _first_with_a_folder(kind).__module__ == _REMOTE:
            msg = (
                f"backend {self.name!r} loads no model from a folder (no argument {_FOLDER}, or it asks a server that "
                "has a model already), so it cannot answer for a pruned one"
            )
            raise EvaluationError(msg)
        if not others and (unknown := [key for key, _ in self.arguments if key not in named]):
            allowed = ", ".join(sorted(named - set(_OURS)))
            msg = f"backend {self.name!r} takes no argument {unknown[0]!r}; it takes: {allowed or 'none'}"
            raise EvaluationError(msg)
        return kind, named

    def load(self, what: str, folder: Path, tokenizer: Any, settings: Mapping[str, str | int]) -> "BackendLM":
        """Has the backend load the stock checkpoint in `folder`.

        `what` is what it answers for, in messages; `settings` are dtype, device and batch size, of which it is given
        those that it takes, and a batch size only where the user gives none. The tokenizer, which is that of the
        folder, counts tokens.

        Raises:
            EvaluationError: it cannot be, or does not start; one line, whatever it raises.
        """
        from lm_eval.utils import handle_arg_string

        from glu_prune.evaluation.backend_lm import BackendLM

        kind, named = self._constructor()
        # The user's own arguments come last and win, except for those in `_OURS`, which `parse` refuses.
        ours = {_FOLDER: str(folder), "tokenizer": str(folder), "trust_remote_code": False, **settings}
        given = {key: handle_arg_string(value) for key, value in self.arguments}
        with errors_as_one_line(f"{what}: backend {self.name!r} did not start"), muted():
            lm = kind.create_from_arg_obj({**{key: value for key, value in ours.items() if key in named}, **given})
        return BackendLM(lm, tokenizer, f"{what}: backend {self.name!r} failed")


def _registered(name: str) -> Any:
    """The class that lm-eval registers under `name`."""
    import lm_eval.models  # noqa: F401  registers lm-eval's own
    from lm_eval.api.registry import get_model, model_registry

    known = sorted(model_registry.keys())
    if name not in known:
        msg = f"lm-eval has no backend {name!r}{did_you_mean(name, known) or ';'} it has: {', '.join(known)}"
        raise EvaluationError(msg)
    try:
        with muted():
            return get_model(name)
    except ImportError as error:
        package = f"lm-eval[{name}]" if _extra(name) else (error.name or name).partition(".")[0]
        msg = f"backend {name!r} cannot be imported: {first_line(error)}; `pip install '{package}'` may help"
        raise EvaluationError(msg) from error


def _parameters(kind: Any) -> tuple[set[str], bool]:
    """What the constructor of `kind` takes by name, those behind it included, and whether it takes others, too."""
    # A constructor with **kwargs passes them to its base class, so the bases are read until one takes no others.
    named: set[str] = set()
    for each in kind.__mro__:
        if "__init__" not in vars(each) or each.__module__ == _BASES:
            continue
        parameters = inspect.signature(each.__init__).parameters.values()
        named |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)} - {"self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return named, False
    return named, True


def _first_with_a_folder(kind: Any) -> Any:
    """Of `kind` and its bases, the one whose constructor is the first to name the folder."""
    # A class of a user's that starts a server with the folder names it itself, before lm-eval's client below it does.
    made = (each for each in kind.__mro__ if "__init__" in vars(each))
    return next(each for each in made if _FOLDER in inspect.signature(each.__init__).parameters)


@cache
def _extra(name: str) -> tuple[str, ...]:
    """The packages of lm-eval's extra `name`; none if there is no such extra."""
    if name not in (metadata("lm-eval").get_all("Provides-Extra") or ()):
        return ()
    marked = (line.partition(";") for line in requires("lm-eval") or ())
    return tuple(
        re.split(r"[^\w.-]", package.strip())[0]
        for package, _, marker in marked
        if re.search(rf"""extra == ['"]{re.escape(name)}['"]""", marker)
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None
