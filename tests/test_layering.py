"""A package imports only from packages above it; heavy libraries are imported where they are used."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import glu_prune

PACKAGE = Path(glu_prune.__file__).parent
ORDER = (
    "errors", "traces", "clean", "units", "files", "syntax", "progress", "statistics", "pruning", "results", "models", "contract", "evaluation", "efficiency", "experiment", "evidence", "judgement", "baseline", "sources", "report",
    "readiness", "notebook", "api", "hookspec", "option_list", "options", "trackers", "session", "plugin", "project", "commands", "cli",
)  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch",
    "transformers",
    "tokenizers",
    "lm_eval",
    "datasets",
    "codecarbon",
    "pandas",
    "pyarrow",
    "scipy",
    "tabulate",
}
MAY_BE_HEAVY = ("pruning", "models", "contract", "evaluation")
"""Where torch and its like may be imported at the top: modules that nothing imports before a model is needed."""


@cache
def imported(path: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def layer(module: str) -> int:
    return ORDER.index(module.split(".")[1])


def test_imports_point_upwards_only():
    wrong = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in MODULES
        if path != PACKAGE / "__init__.py"
        for name in sorted(imported(path))
        if name.startswith("glu_prune.")
        and layer(name) > ORDER.index(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
    ]
    assert wrong == []


def test_heavy_libraries_stay_where_they_are_used():
    wrong = [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in MODULES
        if not str(path.relative_to(PACKAGE)).startswith(MAY_BE_HEAVY)
        for name in sorted(imported(path, top_level=True))
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_package_needs_nothing_that_stays_in_the_checkout():
    outside = {path.name for path in PACKAGE.parent.iterdir() if path.is_dir()} - {PACKAGE.name}
    assert {"benchmarks", "perf", "tests", "tools"} <= outside
    named = {name.split(".")[0] for path in MODULES for name in imported(path)}
    assert named & outside == set()


def test_only_one_module_knows_each_seam():
    def importers(library: str) -> set[str]:
        return {
            str(path.relative_to(PACKAGE))
            for path in MODULES
            if any(name == library or name.startswith(f"{library}.") for name in imported(path))
        }

    assert importers("codecarbon") == {"efficiency/tracking.py"}
    assert importers("lm_eval") == {
        "evaluation/backend.py",
        "evaluation/evaluate.py",
        "evaluation/backend_lm.py",
        "evaluation/chat.py",
        "evaluation/lm.py",
        "evaluation/local_data.py",
        "evaluation/nulls.py",
        "evaluation/user_tasks.py",
        "evaluation/once.py",
        "evaluation/scorer.py",
        "evaluation/writer.py",
        "evaluation/lm_eval_tasks.py",
        "evaluation/tasks/functions.py",
    }


def test_the_error_tree_is_drawn_as_it_is():
    from glu_prune import errors

    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert all(issubclass(each, errors.GluPruneError) for each in classes)
    assert all(each.__name__ in errors.__doc__ for each in classes)


def test_records_are_judged_without_torch():
    """A pack, or a store that has all, is judged in a fraction of the time that importing torch takes."""
    asked = "import sys, glu_prune.plugin, glu_prune.sources.packed, glu_prune.experiment.engine; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
