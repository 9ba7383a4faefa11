"""Logs that other harnesses wrote about tiny-instruct, dense and at half its width, and how they were written.

inspect-ai 0.3.285 and lighteval 0.13.0 wrote them, by torch 2.13.0 and transformers 5.23.0; see `write.sh`.
"""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from glu_prune.baseline.zipped import Archive
from tests.helpers import ROOT

LOGS = ROOT / "tests" / "data" / "harness_logs"
DENSE, PRUNED, PART = (LOGS / "inspect" / name for name in ("dense", "pruned", "part"))


def inspect_log(folder: Path, task: str) -> Path:
    """The log of `task` in a folder."""
    (found,) = folder.glob(f"*_{task}_*")
    return found


def lighteval_logs(folder: Path) -> dict[str, Path]:
    """Model to its file of results, in a copy: names of tasks have a `|`, which is no letter of a file name everywhere."""
    shutil.copytree(LOGS / "lighteval", folder, dirs_exist_ok=True)
    for path in folder.rglob("*+0_*"):
        path.rename(path.with_name(path.name.replace("+", "|")))
    return {model: next((folder / "results" / model).iterdir()) for model in ("dense", "pruned")}


def rewritten(
    log: Path, to: Path, change: Callable[[str, bytes], bytes | None], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """A copy of a `.eval` file, each part as `change` makes it, without those of which it makes None."""
    archive = Archive(log)
    with zipfile.ZipFile(to, "w", method) as target:
        for name in archive.names:
            if (content := change(name, archive.read(name))) is not None:
                target.writestr(name, content)
    return to
