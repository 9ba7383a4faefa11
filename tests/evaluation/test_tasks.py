import json
import math
from pathlib import Path

import pytest

from glu_prune.evaluation.capability import EMBEDDED, SUITES
from glu_prune.evaluation.evaluate import TASKS
from glu_prune.evaluation.tasks import functions
from tools.miniature import items
from tools.miniature.items import DATA

ITEMS = {path.stem: [json.loads(line) for line in path.read_text().splitlines()] for path in DATA.glob("*.jsonl")}


@pytest.mark.slow("makes all items again")
def test_the_committed_items_are_what_the_world_makes(tmp_path: Path):
    items.build(tmp_path)
    for path in DATA.glob("*.jsonl"):
        assert (tmp_path / path.name).read_text() == path.read_text(), f"run python -m {items.__name__}: {path.name}"
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in DATA.iterdir()}


@pytest.mark.parametrize("stem", ITEMS)
def test_each_task_has_at_least_400_distinct_items(stem):
    assert len({json.dumps(item, sort_keys=True) for item in ITEMS[stem]}) == len(ITEMS[stem]) >= 400


def test_every_embedded_capability_has_its_task():
    for capability in EMBEDDED:
        assert (TASKS / f"{capability.task}.yaml").is_file()


def test_suites_are_keyed_by_the_names_they_hold():
    for suite in SUITES.values():
        assert all(name == capability.name for name, capability in suite.items())


def test_the_checkers_accept_every_reference_reply(no_sockets):
    for item in ITEMS["instructions"]:
        metrics = functions.follow_instructions(item, [f" {item['reply']}"])
        assert metrics["inst_level_strict_acc"] == [True] * len(item["kwargs"]), item


def test_the_checkers_refuse_what_ignores_the_request(no_sockets):
    item = next(i for i in ITEMS["instructions"] if i["instruction_id_list"] == ["detectable_format:json_format"])
    assert functions.follow_instructions(item, ["Once upon a time."])["prompt_level_strict_acc"] is False


def test_empty_replies_follow_nothing(no_sockets):
    followed = [functions.follow_instructions(item, [""])["prompt_level_strict_acc"] for item in ITEMS["instructions"]]
    assert not any(followed)


def test_importing_the_checkers_restores_the_download_function(no_sockets):
    import nltk

    before = nltk.download
    functions.checkers()
    assert nltk.download is before


DOC = {"labels": [1, 1, 0, 0, 0, 0], "mc1": [0, 2, 3, 4]}


def likelihoods(*values: float) -> list[tuple[float, bool]]:
    return [(value, False) for value in values]


def test_mc1_asks_for_the_likeliest_of_its_choices():
    assert functions.true_choices(DOC, likelihoods(-1, -9, -2, -2, -2, -2))["mc1"] == 1.0
    assert functions.true_choices(DOC, likelihoods(-2, -1, -1.5, -3, -3, -3))["mc1"] == 0.0
    assert functions.true_choices(DOC, likelihoods(-2, -1, -3, -3, -3, -1))["mc1"] == 1.0


def test_mc2_is_the_share_of_probability_on_true_choices():
    assert functions.true_choices(DOC, likelihoods(*[-1] * 6))["mc2"] == pytest.approx(2 / 6)
    logs = [math.log(share) for share in (0.3, 0.2, 0.1, 0.1, 0.1, 0.2)]
    assert functions.true_choices(DOC, likelihoods(*logs))["mc2"] == pytest.approx(0.5)


def test_mc2_survives_very_unlikely_choices():
    assert functions.true_choices(DOC, likelihoods(*[-2000] * 6))["mc2"] == pytest.approx(2 / 6)


def test_constraints_are_averaged_over_all_documents():
    assert functions.mean_of_all([[True, False], [True]]) == pytest.approx(2 / 3)
