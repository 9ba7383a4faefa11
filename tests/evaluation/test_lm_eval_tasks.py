"""lm-eval's own tasks, found by their names in one folder where that is enough."""

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.lm_eval_tasks import leaves, manager, manager_of


def test_a_name_that_lm_eval_has_not_is_told_with_the_nearest_at_once():
    with pytest.raises(EvaluationError, match="lm-eval has no task 'hellaswagg'; did you mean 'hellaswag'"):
        manager_of("hellaswagg")
    with pytest.raises(EvaluationError, match="lm-eval has no task 'tiny_nothing'"):
        manager_of("tiny_nothing")


@pytest.mark.parametrize("part", ["hellaswa", "mml", "gsm8", "arc_challeng", "", "x" * 5000, "a\nb"])
def test_a_part_of_a_name_is_no_name(part):
    with pytest.raises(EvaluationError, match="lm-eval has no task"):
        manager_of(part)


@pytest.mark.slow("indexes all of lm-eval's tasks")
def test_a_word_of_their_descriptions_is_no_name():
    with pytest.raises(EvaluationError, match="lm-eval has no task 'acc'"):
        manager_of("acc")


@pytest.mark.parametrize(
    ("task", "count"), [("hellaswag", 1), ("leaderboard_musr", 3), ("mmlu", 57), ("mmlu_stem_tasks", 19)]
)
def test_a_folder_is_enough_for_a_task_and_for_a_group_in_it(task, count):
    index = manager_of(task)
    assert len(index.task_index) < 1000
    assert len(leaves(task, index)) == count


@pytest.mark.slow("indexes all of lm-eval's tasks")
@pytest.mark.parametrize("task", ["hellaswag", "mmlu", "leaderboard_musr", "blimp", "ai2_arc", "mmlu_stem_tasks"])
def test_a_folder_gives_what_all_folders_give(task):
    """A tag has members in several folders, so it needs all."""
    index, whole = manager_of(task), manager("")
    assert leaves(task, index) == leaves(task, whole)
    for leaf in leaves(task, index):
        assert index.task_index[leaf].yaml_path == whole.task_index[leaf].yaml_path
