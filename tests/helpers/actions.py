"""Runs the scripts of a composite action as GitHub does: its expressions, its variables, its files."""

import os
import re
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml


@dataclass
class Ran:
    """What came of it."""

    code: int = 0
    """Of the first step that failed."""
    output: dict[str, str] = field(default_factory=dict)
    """By the name of a step, or its command."""
    used: dict[str, dict[str, str]] = field(default_factory=dict)
    """What other actions were given, by their names."""


def run_action(
    folder: Path, workspace: Path, given: Mapping[str, str], github: Mapping[str, str], *, skip: Collection[str] = ()
) -> Ran:
    """Runs the action in `folder`, which is given `given`, for a job in `workspace`; other actions are named, and not run.

    `github` has contexts by path, such as `github.run_id`, and variables, in capitals; steps named in `skip` are left out.
    """
    action = yaml.safe_load((folder / "action.yml").read_text())
    assert set(given) <= set(action["inputs"]), "GitHub only warns of an input that an action does not have"
    contexts = {f"inputs.{name}": each.get("default", "") for name, each in action["inputs"].items()}
    contexts |= {f"inputs.{name}": text for name, text in given.items()} | dict(github)
    ran = Ran()
    for step in action["runs"]["steps"]:
        name = step.get("name", step.get("uses", step.get("run", "")))
        if name in skip or (ran.code and step.get("if") != "always()"):
            continue
        assert step.get("if", "always()") == "always()", "no other condition is understood here"
        if "uses" in step:
            ran.used[step["uses"].partition("@")[0]] = {
                key: evaluated(text, contexts) for key, text in step["with"].items()
            }
            continue
        assert "${{" not in step["run"], "an expression in a script is code of whoever wrote its value"
        code, ran.output[name] = run(step, folder, workspace, contexts, github)
        ran.code = ran.code or code
    return ran


def run(step: Mapping, folder: Path, workspace: Path, contexts: Mapping, github: Mapping) -> tuple[int, str]:
    """The exit code of a step, and what it wrote."""
    variables = {name: text for name, text in github.items() if name.isupper()}
    own = {name: evaluated(text, contexts) for name, text in step.get("env", {}).items()}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=workspace / evaluated(step.get("working-directory", "."), contexts),
        env={**os.environ, **variables, "GITHUB_ACTION_PATH": str(folder), **own},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def evaluated(text: str, contexts: Mapping[str, str]) -> str:
    """`text` with the values of its expressions, each of which is the path of one."""
    return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda found: str(contexts[found[1]]), str(text))
