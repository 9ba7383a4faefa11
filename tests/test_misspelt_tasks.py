"""A task that lm-eval does not have, misspelt in a file, is one line with the nearest names before anything runs, whatever the claim."""

import codecarbon  # noqa: F401  inner sessions forget what they import first, and these cannot be imported twice
import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks  # noqa: F401
import pandas  # noqa: F401
import pytest

from glu_prune.cli import main

FILE = """\
model: tiny-base
ratios: [0.2, 0.5]
capabilities:
  mine: {{task: {task}, metric: acc}}
expect:
  - {{{claim}, why: of this test}}
"""
CLAIMS = {
    "direction": "capability: mine, direction: down",
    "trend": "trend: mine, relation: falling",
    "curve": "trend: [mine, reading], relation: inverse",
    "distance": "distance: flips, capability: mine, at_most: 0.1",
    "cost": "efficiency: joules_per_correct_answer, questions: mine, direction: down",
}
TESTS = "\n".join(
    f"def test_{name}({fixture}, glu_check):\n    glu_check({fixture})\n"
    for name, fixture in {"d": "glu_case", "t": "glu_trend", "e": "glu_efficiency", "f": "glu_distance"}.items()
)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize(("task", "nearest"), [("hellaswagg", "'hellaswag'"), ("mmlu_stm", "'mmlu_stem'")])
def test_a_run_is_refused(pytester, claim, task, nearest):
    pytester.makepyfile(TESTS)
    (pytester.path / "claims.yaml").write_text(FILE.format(task=task, claim=CLAIMS[claim]))
    ran = pytester.runpytest_inprocess("--glu-expectations=claims.yaml")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in ran.errlines if each.strip()]
    assert f"lm-eval has no task '{task}'; did you mean" in line
    assert nearest in line


@pytest.mark.parametrize("command", ["doctor", "prefetch", "power"])
def test_commands_say_so(tmp_path, capsys, command):
    path = tmp_path / "claims.yaml"
    path.write_text(FILE.format(task="hellaswagg", claim=CLAIMS["direction"]))
    assert main([command, str(path)]) == 1
    said = capsys.readouterr()
    assert "did you mean 'hellaswag'" in " ".join((said.err if command == "power" else said.out).split())
