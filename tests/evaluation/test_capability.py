"""Suites say what the study did, and what lm-eval's own tasks give."""

import csv

import pytest

from glu_prune.efficiency.workload import WORKLOADS
from glu_prune.evaluation.capability import EMBEDDED, STORIES, STUDY, STUDY_INSTRUCT, SUITES
from tests.helpers import ROOT

FIVE_SHOT = {"mmlu", "gsm8k"}
"""Of the study's benchmarks; all others are 0-shot, by the list in its repository's `utils.py`."""
NEARLY = 0.001
"""How far guessing may be from the chance that a suite declares: some items have a choice more or less."""


def rows(name: str) -> list[dict[str, str]]:
    with (ROOT / "expectations" / "evidence" / f"{name}.csv").open(newline="") as stream:
        return [*csv.DictReader(stream)]


def published(model: str) -> set[tuple[str, str]]:
    found = {(row["task"], row["metric"].partition(",")[0]) for row in rows("scores") if row["model"] == model}
    assert found
    return found


@pytest.mark.parametrize(
    ("suite", "model", "benchmarks"),
    [(STUDY, "Llama-3.2-1B", 13), (STUDY, "Llama-3.2-3B", 13), (STUDY_INSTRUCT, "Llama-3.2-1B-Instruct", 7)],
)
def test_suites_of_the_study_are_the_benchmarks_it_published(suite, model, benchmarks):
    figures = published(f"meta-llama/{model}")
    assert {each.task for each in suite} == {task for task, _ in figures}
    assert len({each.task for each in suite}) == benchmarks
    assert {(each.task, each.metric) for each in suite} <= figures


def test_shots_are_the_studys():
    assert {each.task: each.num_fewshot for each in STUDY} == {
        each.task: 5 if each.task in FIVE_SHOT else 0 for each in STUDY
    }


def test_perplexities_are_better_when_lower_and_nothing_else_is():
    for each in (*EMBEDDED, *STORIES):
        assert each.higher_is_better is not each.logarithmic, each.name


@pytest.mark.parametrize("capability", STUDY, ids=lambda each: each.name)
def test_chance_is_what_guessing_scores_on_all_items(capability):
    """Where a suite declares none, guessing is scored, or the metric has no such point."""
    floors = {row["null"]: float(row["score"]) for row in rows("floors") if row["task"] == capability.task}
    if capability.chance:
        assert floors["uniform"] == pytest.approx(capability.chance, abs=NEARLY)
    elif capability.chance is None:
        assert "uniform" in floors or capability.logarithmic
    else:
        assert "uniform" not in floors
        assert not capability.logarithmic


def test_every_suite_has_workloads():
    assert set(WORKLOADS) == set(SUITES)
