"""Writes a project into a user's repository: tests, claims, settings of pytest, and a CI workflow.

They are copies of the files in `template/`, in which the tests are those that this project runs itself.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import yaml

from glu_prune.errors import ModelNotFoundError, ProjectError
from glu_prune.models.source import embedded_models, locate

TEMPLATE = Path(__file__).parent / "template"
_CONFIGURED = {"pyproject.toml": r"^\[tool\.pytest", "tox.ini": r"^\[pytest\]", "setup.cfg": r"^\[tool:pytest\]"}
"""Files in which pytest looks for settings, after `pytest.ini`, and how such settings begin."""


def write_project(folder: Path, model: str) -> tuple[str, ...]:
    """Writes a project about `model` into `folder`, completely or not at all, and returns the names of its files.

    Raises:
        ProjectError: one of the files exists, or cannot be written.
        ModelNotFoundError: there can be no model of that name.
    """
    texts = _rendered(model, _relative_name(folder, model))
    _refuse_existing(folder, texts)
    try:
        _write(folder, texts)
    except OSError as error:
        msg = f"{error.filename or folder} cannot be written: {error.strerror}; nothing was written"
        raise ProjectError(msg) from error
    return tuple(texts)


def is_here(model: str) -> bool:
    """Whether `model` is on this machine; a Hugging Face id may be downloaded later.

    Raises:
        ModelNotFoundError: it is not, and has not the form of such an id.
    """
    try:
        locate(model)
    except ModelNotFoundError:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith("."):
            raise
        return False
    return True


def _relative_name(folder: Path, model: str) -> str:
    """The name of `model` for a pytest that is started in `folder`: a path below `folder` becomes a relative one."""
    if not is_here(model) or model in embedded_models() or not Path(model).exists():
        return model
    place = Path(model).resolve()
    return str(place.relative_to(folder.resolve()) if place.is_relative_to(folder.resolve()) else place)


def _rendered(name: str, model: str) -> Mapping[str, str]:
    """Path of each file in the project to its text."""
    claims = "embedded" if name in embedded_models() else "study"
    facts = {"@MODEL@": _scalar(model), "@VERSION@": version("glu-prune")}
    return {
        _destination(path, Path(model).name): re.sub(
            "|".join(facts), lambda found: facts[found[0]], path.read_text("utf-8")
        )
        for path in sorted(TEMPLATE.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and (path.parent.name != "expectations" or path.stem == claims)
    }


def _destination(path: Path, model: str) -> str:
    """The path in the project of a file of the template; claims go into a file named after their model."""
    relative = path.relative_to(TEMPLATE)
    return (relative.with_name(f"{model.lower()}.yaml") if relative.parts[0] == "expectations" else relative).as_posix()


def _scalar(text: str) -> str:
    """`text` as a YAML scalar, quoted where YAML requires it."""
    return str(yaml.safe_dump(text, allow_unicode=True, width=float("inf"))).splitlines()[0]


def _refuse_existing(folder: Path, places: Iterable[str]) -> None:
    """Raises `ProjectError` if a file exists already, or if settings of pytest exist that the new ones would hide."""
    for place in (folder / place for place in places):
        blocked = (each for each in place.parents if os.path.lexists(each) and not each.is_dir())
        there = place if os.path.lexists(place) else next(blocked, None)
        if there is not None:
            msg = f"{there} exists; nothing was written. Name a folder without it: glu-prune init DIR"
            raise ProjectError(msg)
    for name, begins in _CONFIGURED.items():
        path = folder / name
        if path.is_file() and re.search(begins, path.read_text("utf-8", "replace"), re.MULTILINE):
            msg = (
                f"{path} has settings of pytest, which a pytest.ini would hide; nothing was written. Name a folder of "
                "its own: glu-prune init DIR"
            )
            raise ProjectError(msg)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes new files; if one cannot be written, removes those that were, and the folders made for them."""
    with ExitStack() as undo:
        for place, text in texts.items():
            path = folder / place
            for new in _missing_parents(path.parent):
                new.mkdir()
                undo.callback(new.rmdir)
            with path.open("x", encoding="utf-8") as file:
                undo.callback(path.unlink)
                file.write(text)
        undo.pop_all()


def _missing_parents(folder: Path) -> Iterator[Path]:
    """The folders to create so that `folder` exists, outermost first; `folder` is the last of them."""
    yield from reversed([each for each in (folder, *folder.parents) if not each.exists()])
