"""Builds the documentation as a site: docs/, files of the repository that pages link to, and two example reports.

    python -m tools.site        # or `make docs`; writes site/, and fails on a broken link

By Zensical, from mkdocs.yml: Material for MkDocs, which it succeeds, is maintained until May 2027 only.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from glu_prune.report.page.saved import save_page
from glu_prune.sources.judged import judged

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "site"
_LINK = re.compile(r"\]\(\.\./([^)#]+)")
REPORTS = {"replication": "smollm2-135m-instruct", "published": "published"}
"""Pages, and what the report beside each of them shows."""


def gather(folder: Path) -> None:
    """Puts all that the site is made of into `folder`, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    for page in (folder / "docs").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        for name in _LINK.findall(text):
            # As text, so that a browser shows it, and the menu needs no entry for it.
            copy = folder / "docs" / "source" / f"{name}.txt"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
        text = _LINK.sub(lambda found: f"](source/{found[1]}.txt", text)
        if page.stem in REPORTS:
            title, _, rest = text.partition("\n")
            text = f"{title}\n\n[The same as a report](reports/{page.stem}.html){{ .md-button }}\n{rest}"
        page.write_text(text, encoding="utf-8")
    for name, evidence in REPORTS.items():
        save_page(
            judged(evidence, ROOT / "expectations", ROOT).report,
            folder / "docs" / "reports" / f"{name}.html",
            [evidence],
        )


def main() -> int:
    """Builds the site."""
    gather(BUILD)
    done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=BUILD, check=False)
    if done.returncode == 0:
        shutil.rmtree(ROOT / "site", ignore_errors=True)
        shutil.move(BUILD / "site", ROOT / "site")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
