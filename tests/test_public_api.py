"""The public interface of Python: which names, that they are typed and told, and that the guide's examples run."""

import inspect
import re
import shutil
import subprocess
import sys
import typing

import pytest

import glu_prune
from glu_prune.errors import ExpectationError
from glu_prune.models.source import MODELS
from glu_prune.project.write import TEMPLATE
from tests.helpers import ROOT

GUIDE = (ROOT / "docs" / "python.md").read_text()
PUBLIC = [
    "Case", "PruningPlan", "Results", "Target", "apply", "choose", "compare", "criteria", "judge", "load", "load_results",
    "locate", "measure", "plan", "prune", "pruned", "rank", "register",
]  # fmt: skip


def test_these_names_are_public_and_no_others():
    assert glu_prune.__all__ == PUBLIC
    assert set(glu_prune._HOMES) == set(PUBLIC)
    assert set(PUBLIC) <= set(dir(glu_prune))
    with pytest.raises(AttributeError, match="no attribute 'engine'"):
        _ = glu_prune.engine


@pytest.mark.parametrize("name", PUBLIC)
def test_each_is_told_documented_and_typed(name):
    (table,) = re.findall(r"\| \| \|\n(.*?)\n\n", GUIDE, re.DOTALL)
    assert f"`{name}`" in table
    found = getattr(glu_prune, name)
    if name == "criteria":
        assert "ppm" in found
        return
    assert inspect.getdoc(found)
    if inspect.isfunction(found):
        told = inspect.signature(inspect.unwrap(found))
        assert told.return_annotation is not inspect.Signature.empty
        assert all(each.annotation is not inspect.Parameter.empty for each in told.parameters.values())


def test_type_checkers_see_what_is_there():
    shown = (ROOT / "glu_prune" / "__init__.py").read_text().split("if TYPE_CHECKING:")[1].split("__all__")[0]
    for name, home in glu_prune._HOMES.items():
        assert re.search(rf"from glu_prune\.{re.escape(home)} import .*\b{name}\b", shown), name
    assert typing.get_type_hints(glu_prune.prune)["ratio"] is object


def test_what_users_are_given_needs_no_other_names():
    """Pages, examples and what `init` writes: what they import is what may be imported."""
    pages = [path for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md") if path.name != "architecture.md"]
    given = [*pages, *(ROOT / "examples").glob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *TEMPLATE.rglob("*.py")]
    assert len(given) > 40
    other = {
        f"{path.relative_to(ROOT)}: {found}"
        for path in given
        for found in re.findall(r"(?:from|import) (glu_prune\.[\w.]+)|from glu_prune import (\w+)", path.read_text())
        if found[0] or found[1] not in PUBLIC
    }
    assert other == set()


def test_importing_it_imports_nothing_heavy():
    code = "import sys, glu_prune; sys.exit(' '.join({'torch', 'numpy', 'pydantic', 'pytest'} & {*sys.modules}) or 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("more", [{"tasks": ["tiny_recall"]}, {"chat": True}])
def test_what_a_file_of_claims_says_is_not_said_again(more):
    with pytest.raises(ExpectationError, match="says what is asked; leave out tasks and chat"):
        glu_prune.judge("tiny-base", "tiny-instruct", claims=ROOT / "expectations" / "any.yaml", **more)


@pytest.mark.slow("judges, chooses and measures a miniature")
def test_the_examples_of_the_guide_run_in_their_order(tmp_path):
    (tmp_path / "expectations").symlink_to(ROOT / "expectations")
    shutil.copytree(MODELS / "tiny-base", tmp_path / "dense")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) == 4
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout.splitlines()
    assert said[:2] == ["384", "384"]
    assert "unchanged" in done.stdout
