"""Writes a project for a user's own repository: tests, claims, pytest's settings and a workflow.

The files are those of `template/`, which are part of this package; the tests among them are this project's own.
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
    """Writes a project about `model` into `folder`, all of it or nothing; gives the names of its files.

    Raises:
        ProjectError: a file of it exists, or cannot be written.
        ModelNotFoundError: there can be no model of that name.
    """
    texts = _texts(model, _seen_from(folder, model))
    _refuse_existing(folder, texts)
    try:
        _write(folder, texts)
    except OSError as error:
        msg = f"{error.filename or folder} cannot be written: {error.strerror}; nothing was"
        raise ProjectError(msg) from error
    return tuple(texts)


def is_here(model: str) -> bool:
    """Whether `model` can be loaded; an id of the hub can also be fetched later.

    Raises:
        ModelNotFoundError: it can not, and is no such id.
    """
    try:
        locate(model)
    except ModelNotFoundError:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith("."):
            raise
        return False
    return True


def _seen_from(folder: Path, model: str) -> str:
    """`model` as it is called in `folder`, where pytest will be started: folders by their place, others by name."""
    if not is_here(model) or model in embedded_models() or not Path(model).exists():
        return model
    place = Path(model).resolve()
    return str(place.relative_to(folder.resolve()) if place.is_relative_to(folder.resolve()) else place)


def _texts(name: str, model: str) -> Mapping[str, str]:
    """The place of each file in the project, and what it says."""
    claims = "embedded" if name in embedded_models() else "study"
    facts = {"@MODEL@": _scalar(model), "@VERSION@": version("glu-prune")}
    return {
        _place(path, Path(model).name): re.sub("|".join(facts), lambda found: facts[found[0]], path.read_text("utf-8"))
        for path in sorted(TEMPLATE.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and (path.parent.name != "expectations" or path.stem == claims)
    }


def _place(path: Path, model: str) -> str:
    """Where a file of the template goes; claims go into a file that is called as their model is."""
    place = path.relative_to(TEMPLATE)
    return (place.with_name(f"{model.lower()}.yaml") if place.parts[0] == "expectations" else place).as_posix()


def _scalar(text: str) -> str:
    """`text` as YAML, quoted where it must be."""
    return str(yaml.safe_dump(text, allow_unicode=True, width=float("inf"))).splitlines()[0]


def _refuse_existing(folder: Path, places: Iterable[str]) -> None:
    """Raises `ProjectError` if a file is in the way, or has settings of pytest that the new ones would hide."""
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
    """Writes new files; takes them back, with the folders made for them, if one cannot be written."""
    with ExitStack() as undo:
        for place, text in texts.items():
            path = folder / place
            for new in _missing(path.parent):
                new.mkdir()
                undo.callback(new.rmdir)
            with path.open("x", encoding="utf-8") as file:
                undo.callback(path.unlink)
                file.write(text)
        undo.pop_all()


def _missing(folder: Path) -> Iterator[Path]:
    """The folders that must be made for `folder` to exist, outermost first."""
    yield from reversed([each for each in (folder, *folder.parents) if not each.exists()])
