import json
import os
from pathlib import Path

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import lm_eval_tasks, local_data, nulls
from glu_prune.evaluation.capability import STORIES
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.evaluation.subset import Subset

REAL = os.environ.get(local_data.VARIABLE)
needs_data = pytest.mark.skipif(not REAL, reason=f"{local_data.VARIABLE} names no folder of benchmark data")

MC = {"choices": ["True.", "False."], "labels": [1, 0]}
ROWS = {
    "ifeval/input_data.jsonl": {
        "key": 1,
        "prompt": "Say it without commas.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    },
    "truthfulqa/validation.jsonl": {"question": "What?", "mc1_targets": MC, "mc2_targets": MC},
    "gsm8k/test.jsonl": {"question": "1 + 1?", "answer": "So 2.\n#### 2"},
    "arc/ARC-Challenge_test.jsonl": {
        "question": "Which?",
        "choices": {"text": ["this", "that"], "label": ["A", "B"]},
        "answerKey": "B",
    },
    "hellaswag/validation_preprocessed.jsonl": {"query": "A man", "choices": ["sits.", "flies."], "label": 0},
    "winogrande/validation.jsonl": {"sentence": "I saw _ there.", "option1": "Al", "option2": "Bo", "answer": "2"},
    "piqa/validation.jsonl": {"goal": "Sit.", "sol1": "Chair.", "sol2": "Knife.", "label": 0},
    "boolq/validation.jsonl": {"question": "is it", "passage": "It is.", "label": 1},
    "lambada/lambada_openai_test.jsonl": {"text": "one and one is two"},
    "wikitext2/test_document_level.jsonl": {"page": " = A title = \n It is a page . "},
    **{
        f"musr/{kind}.jsonl": {
            "narrative": "He was there.",
            "question": "Where?",
            "choices": "['here', 'there']",
            "answer_index": 1,
            "answer_choice": "there",
        }
        for kind in ("murder_mysteries", "object_placements", "team_allocation")
    },
}
ROWS["gsm8k/train.jsonl"] = ROWS["gsm8k/test.jsonl"]
for name in ("ARC-Challenge_train", "ARC-Easy_test", "ARC-Easy_train"):
    ROWS[f"arc/{name}.jsonl"] = ROWS["arc/ARC-Challenge_test.jsonl"]
SUBJECTS = tuple(lm_eval_tasks.leaves("mmlu", lm_eval_tasks.manager("mmlu/default")))
SIZES = {
    "ifeval": 541,
    "truthfulqa_mc1": 817,
    "truthfulqa_mc2": 817,
    "mmlu": 14042,
    "gsm8k": 1319,
    "arc_challenge": 1172,
    "arc_easy": 2376,
    "hellaswag": 10042,
    "winogrande": 1267,
    "piqa": 1838,
    "boolq": 3270,
    "lambada_openai": 5153,
    "wikitext": 62,
    "leaderboard_musr": 756,
    "tinystories": 4300,  # paragraphs of an excerpt
}


def write(folder: Path, file: str, rows: list[dict]) -> None:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder with three items per benchmark."""
    for file, row in ROWS.items():
        write(tmp_path, file, [row] * 2 + [{**row, "text": "one and one is more"}] if "text" in row else [row] * 3)
    for subject in SUBJECTS:
        for split in ("test", "dev"):
            row = {"question": f"Which {split}?", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": 2}
            write(tmp_path, f"mmlu/{split}/{subject.removeprefix('mmlu_')}.jsonl", [row] * 5)
    (tmp_path / "tinystories").mkdir()
    (tmp_path / "tinystories/tinystories_val.txt").write_text("Once.\n\nTwice.\n\n\n\n Thrice.\n")
    (tmp_path / "nltk_data/tokenizers/punkt_tab/english").mkdir(parents=True)
    (tmp_path / "nltk_data/tokenizers/punkt_tab/english/abbrev_types.txt").write_text("etc")
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path))
    monkeypatch.setenv("NLTK_DATA", "")
    import nltk

    monkeypatch.setattr(nltk.data, "path", list(nltk.data.path))
    return tmp_path


@pytest.mark.parametrize("task", local_data.TASKS)
def test_stock_tasks_run_from_a_folder_without_a_network(data, no_sockets, task):
    results = null_results(Evaluator(), task, {"mmlu": 5, "gsm8k": 2}.get(task, 0))
    size = {"mmlu": 57 * 5, "leaderboard_musr": 3 * 3}.get(task, 3)
    assert {len(result.items) for result in results.values()} == {size}


def test_every_benchmark_of_the_layout_has_a_size_to_check():
    assert set(SIZES) == set(local_data.TASKS)


def test_settings_are_the_stock_ones_but_for_the_data(data):
    """The same prompt, word for word, as lm-eval's own files make of the same document."""
    (piqa,) = local_data.load("piqa", None)["tasks"].values()
    assert piqa.config.doc_to_text == "Question: {{goal}}\nAnswer:"
    assert [m["metric"] for m in piqa.config.metric_list] == ["acc", "acc_norm"]
    assert piqa.VERSION == 1.0


def test_worked_examples_come_from_the_dev_files_in_their_order(data):
    rows = [
        {"question": f"Question {n}?", "subject": "virology", "choices": list("wxyz"), "answer": 0} for n in range(5)
    ]
    write(data, "mmlu/dev/virology.jsonl", rows)
    evaluator = Evaluator()
    null_results(evaluator, "mmlu", 5)
    prompt = evaluator.tasks("mmlu", 5)["mmlu_virology"].instances[0].args[0]
    assert [prompt.index(f"Question {n}?") for n in range(5)] == sorted(
        prompt.index(f"Question {n}?") for n in range(5)
    )
    assert prompt.startswith("The following are multiple choice questions (with answers) about virology.")
    assert prompt.endswith("Which test?\nA. a\nB. b\nC. c\nD. d\nAnswer:")


def test_a_folder_with_a_part_of_a_group_serves_its_tasks_by_name(data, no_sockets):
    within = next(iter(null_results(Evaluator(), "mmlu", 5).values())).items
    before = local_data.task_data_digest("mmlu_virology")
    write(data, "mmlu/dev/anatomy.jsonl", [{}])
    assert local_data.task_data_digest("mmlu_virology") == before
    for subject in SUBJECTS:
        if subject != "mmlu_virology":
            (data / f"mmlu/test/{subject.removeprefix('mmlu_')}.jsonl").unlink()
    alone = next(iter(null_results(Evaluator(), "mmlu_virology", 5).values())).items
    assert len(alone) == 5
    assert set(alone) <= set(within)
    with pytest.raises(EvaluationError, match=r"lacks mmlu/test/anatomy\.jsonl"):
        local_data.load("mmlu_anatomy", 5)
    with pytest.raises(EvaluationError, match="lacks mmlu/test/"):
        local_data.load("mmlu", 5)


def test_examples_drawn_by_lot_are_the_same_for_every_model(data):
    """lm-eval draws on from one model to the next; prompts built once cannot differ."""
    write(data, "gsm8k/train.jsonl", [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(50)])
    results = null_results(Evaluator(), "gsm8k", 5)
    assert len({result.items for result in results.values()}) == 1
    assert results["empty"].items == null_results(Evaluator(), "gsm8k", 5)["empty"].items


def test_without_the_variable_nothing_changes(monkeypatch):
    monkeypatch.delenv(local_data.VARIABLE, raising=False)
    assert local_data.load("piqa", None) is None
    assert local_data.task_data_digest("piqa") is None


@pytest.mark.parametrize("task", ["tiny_recall", "sciq", "mmlu_pro", "mmlu_stem"])
def test_other_tasks_are_left_alone(data, task):
    assert local_data.load(task, None) is None
    assert local_data.task_data_digest(task) is None


def test_fingerprints_follow_contents(data):
    before = {task: local_data.task_data_digest(task) for task in local_data.TASKS}
    assert before == {task: local_data.task_data_digest(task) for task in local_data.TASKS}
    write(data, "mmlu/dev/virology.jsonl", [{}])
    write(data, "nltk_data/tokenizers/punkt_tab/english/abbrev_types.txt", [{}])
    changed = {task for task in local_data.TASKS if local_data.task_data_digest(task) != before[task]}
    assert changed == {"mmlu", "ifeval"}


def test_ifeval_finds_its_language_data_in_the_folder(data):
    import nltk

    local_data.load("ifeval", None)
    assert nltk.data.path[0] == os.environ["NLTK_DATA"] == str(data / "nltk_data")


def test_a_folder_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path / "nowhere"))
    for use in (local_data.task_data_digest, Evaluator().tasks):
        with pytest.raises(
            EvaluationError, match=r"nowhere', which is no folder; name a folder .*, or unset"
        ) as caught:
            use("piqa")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "missing"),
    [("piqa", "piqa/validation.jsonl"), ("mmlu", "mmlu/dev/virology.jsonl"), ("gsm8k", "gsm8k/train.jsonl")],
)
def test_a_missing_file_is_an_error(data, task, missing):
    (data / missing).unlink()
    with pytest.raises(EvaluationError, match=f"^{task}: .* lacks {missing}; add it, or unset {local_data.VARIABLE}"):
        Evaluator().tasks(task)


def test_missing_language_data_is_an_error(data):
    (data / "nltk_data/tokenizers/punkt_tab/english/abbrev_types.txt").unlink()
    (data / "nltk_data/tokenizers/punkt_tab/english").rmdir()
    with pytest.raises(EvaluationError, match=r"ifeval: .* lacks nltk_data/tokenizers/punkt_tab/english;"):
        Evaluator().tasks("ifeval")
    with pytest.raises(EvaluationError, match=r"ifeval: .* lacks nltk_data/\*\*/\*;"):
        local_data.task_data_digest("ifeval")


def test_lines_that_are_not_json_are_an_error(data):
    (data / "piqa/validation.jsonl").write_text('{"goal": "a"}\n{"goal":\n')
    with pytest.raises(EvaluationError, match=r"piqa/validation\.jsonl:2 is not JSON"):
        Evaluator().tasks("piqa")


def test_examples_that_the_folder_does_not_have_are_an_error(data):
    with pytest.raises(EvaluationError, match=r"piqa: 3 worked examples asked for, but .* has none"):
        Evaluator().tasks("piqa", 3)


def test_line_separators_within_texts_do_not_end_items(data):
    write(data, "piqa/validation.jsonl", [{**ROWS["piqa/validation.jsonl"], "goal": "Sit\u2028down\x85now."}] * 2)
    (piqa,) = Evaluator().tasks("piqa").values()
    assert [doc["goal"] for doc in piqa.eval_docs] == ["Sit\u2028down\x85now."] * 2


@pytest.mark.parametrize("capability", STORIES, ids=lambda each: each.name)
def test_suites_read_lm_evals_own_metrics_and_directions(data, capability):
    for task in Evaluator().tasks(capability.task, capability.num_fewshot).values():
        assert task.higher_is_better()[capability.metric] is capability.higher_is_better
        assert task.config.num_fewshot == capability.num_fewshot


def test_of_two_ways_to_read_an_answer_the_strict_one_counts(data):
    """GSM8K's answers stand after `####`; lm-eval's second filter takes the last number anywhere."""
    evaluator = Evaluator()
    (task,) = evaluator.tasks("gsm8k", 2).values()
    assert [each.name for each in task._filters] == ["strict-match", "flexible-extract"]
    for answer, score in (("So 2.", 0), ("So 2.\n#### 2", 1)):
        writer = nulls.Writer(lambda _prompt, _words, answer=answer: answer)
        assert evaluator.evaluate(writer, "gsm8k", 2).metrics["exact_match"].score == score


def test_musr_asks_what_lm_eval_asks(data):
    evaluator = Evaluator()
    result = null_results(evaluator, "leaderboard_musr")["longest answer"]
    tasks = evaluator.tasks("leaderboard_musr")
    assert set(tasks) == {
        f"leaderboard_musr_{kind}" for kind in ("murder_mysteries", "object_placements", "team_allocation")
    }
    (first, second, *_) = tasks["leaderboard_musr_team_allocation"].instances
    assert first.args == ("He was there.\n\nWhere?\n\n1 - here\n2 - there\n\nAnswer:", " here")
    assert second.args[1] == " there"
    assert list(result.metrics) == ["acc_norm"]
    assert result.metrics["acc_norm"].score == 1


def test_a_sample_is_read_where_the_whole_is_not_there_and_said_to_be_one(data):
    assert not local_data.is_sample("leaderboard_musr")
    before = local_data.task_data_digest("leaderboard_musr")
    for kind in ("murder_mysteries", "object_placements", "team_allocation"):
        write(data, f"musr_sample/{kind}.jsonl", [ROWS[f"musr/{kind}.jsonl"]] * 2)
    assert local_data.task_data_digest("leaderboard_musr") == before
    (data / "musr/team_allocation.jsonl").unlink()
    with pytest.raises(EvaluationError, match=r"lacks musr/team_allocation\.jsonl"):
        local_data.load("leaderboard_musr", 0)
    for file in (data / "musr").iterdir():
        file.unlink()
    assert local_data.is_sample("leaderboard_musr")
    assert local_data.is_sample("leaderboard_musr_team_allocation")
    assert local_data.task_data_digest("leaderboard_musr") != before
    assert {len(each.eval_docs) for each in Evaluator().tasks("leaderboard_musr").values()} == {2}
    assert len(null_results(Evaluator(), "leaderboard_musr_team_allocation")["uniform"].items) == 2
    assert not local_data.is_sample("piqa")


@needs_data
@pytest.mark.parametrize("task", local_data.TASKS)
def test_real_data_is_the_whole_official_split_or_said_not_to_be(no_sockets, task):
    found = sum(len(each.eval_docs) for each in Evaluator().tasks(task).values())
    assert found == SIZES[task] or (local_data.is_sample(task) and found < SIZES[task])


@needs_data
def test_preprocessed_hellaswag_is_what_lm_eval_makes_of_the_official_columns():
    """But for a second space before some choices, where lm-eval takes "[substeps]" out and leaves what follows it."""
    from lm_eval.tasks.hellaswag.utils import process_docs

    def facts(row: dict) -> tuple:
        return row["query"], tuple(choice.lstrip() for choice in row["choices"]), int(row["label"])

    official = process_docs(local_data._read({"all": f"{REAL}/hellaswag/hellaswag_1000_official_schema.jsonl"})["all"])
    ours = {facts(row) for row in local_data._rows(Path(f"{REAL}/hellaswag/validation_preprocessed.jsonl"))}
    assert [row for row in official if facts(row) not in ours] == []


def test_parts_of_a_group_hold_whole_subjects(data):
    """MMLU's items depend on their subject: 32 of 57 subjects, then the others; each item as in the whole."""
    guesses, found = nulls.Chooser(nulls.rotate_choices(0)), []
    evaluator = Evaluator()
    whole = evaluator.evaluate(guesses, "mmlu", 5)
    for part in (Subset(0, 32, "subject"), Subset(32, 64, "subject")):
        found.append(evaluator.evaluate(guesses, "mmlu", 5, part))
    assert [len({document["subject"] for document in each.documents}) for each in found] == [32, 25]
    assert [len(each.items) for each in found] == [32 * 5, 25 * 5]
    assert sorted(item for each in found for item in each.items) == sorted(whole.items)


def test_parts_have_the_worked_examples_of_the_whole(data):
    """They are drawn document after document; a session that answers a later part alone must draw the same."""
    for split, rows in (("train", 30), ("test", 12)):
        write(
            data,
            f"gsm8k/{split}.jsonl",
            [{"question": f"{n} + 1?", "answer": f"So.\n#### {n + 1}"} for n in range(rows)],
        )
    writer = nulls.Writer(lambda _prompt, _words: "the")
    whole = Evaluator().evaluate(writer, "gsm8k", 3)
    part = Evaluator().evaluate(writer, "gsm8k", 3, Subset(4, 8))
    assert (len(whole.items), len(part.items)) == (12, 4)
    assert set(part.items) < set(whole.items)
