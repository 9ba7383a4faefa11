"""Where outcomes are read from: real stores, and what lm-eval itself writes."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from glu_prune.baseline.compare import compare, paired
from glu_prune.baseline.file import Environment, save
from glu_prune.baseline.sources import outcomes
from glu_prune.cli import main
from glu_prune.errors import BaselineError
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.experiment.record import ScoreRecord
from glu_prune.experiment.store import Store
from glu_prune.models.source import load, locate
from tests.helpers.records import record

ACC = ScoreRecord(score=0.5, values=(1.0, 0.0), weights=(1.0, 1.0))
WORSE = ScoreRecord(score=0.0, values=(0.0, 0.0), weights=(1.0, 1.0))


AGAIN = record(settings={"dtype": "float32", "batch_size": 17, "threads": 1}, metrics={"acc": WORSE})


def fill(folder: Path, *records) -> Path:
    store = Store(folder)
    for index, each in enumerate(records):
        store.put(each.model_copy(update={"key": f"{index:064x}"}))
    return folder


def test_a_store_gives_the_newest_record_of_each_thing(tmp_path):
    newer = record(created="2026-02-01T00:00:00+00:00", metrics={"acc": WORSE})
    limited = record(settings={"part": "0-2"})
    found = outcomes(fill(tmp_path / "store", newer, record(), limited, record(arm="ppm-0.5")))
    assert sorted((each.about.arm, each.about.score, each.about.comparable.get("part")) for each in found) == [
        ("dense", 0.0, None), ("dense", 0.5, "0-2"), ("ppm-0.5", 0.5, None),
    ]  # fmt: skip


def test_seeds_and_chat_templates_are_things_of_their_own(tmp_path):
    arms = [record(arm="random-0.5", settings={"seed": seed}) for seed in (1, 2)]
    found = outcomes(fill(tmp_path / "store", *arms, record(settings={"chat_template": 1})))
    assert {(each.about.subject, each.about.arm) for each in found} == {
        ("tiny-base", "random-0.5 (seed 1)"), ("tiny-base", "random-0.5 (seed 2)"), ("tiny-base (chat)", "dense"),
    }  # fmt: skip


def test_a_model_that_answered_twice_gives_a_noise_band_to_all_its_arms(tmp_path):
    first, other = outcomes(fill(tmp_path / "store", record(), record(arm="ppm-0.5"), AGAIN))
    for each in (first, other):
        assert (each.about.band.score, each.about.band.items) == (0.5, 1)
        assert each.about.band.run == "batches of 17, threads: 1"


@pytest.mark.parametrize("other", [{"weights": "ef" * 32}, {"code": "ab" * 32}, {"settings": {"dtype": "bfloat16"}}])
def test_what_differs_between_two_models_is_no_noise(tmp_path, other):
    newer = record(created="2026-02-01T00:00:00+00:00", **other)
    (found,) = outcomes(fill(tmp_path / "store", record(), AGAIN, newer))
    assert found.about.band is None


def test_a_store_with_a_record_that_cannot_be_trusted_is_refused(tmp_path):
    folder = fill(tmp_path / "store", record())
    (path,) = (folder / "cells").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BaselineError, match="`glu-prune store verify` names all that is damaged"):
        outcomes(folder)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory; name a store folder"),
        (b"", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"\xff\xfe{", "is no JSON"),
        (b"[1]", "has neither `outcomes`, as a baseline, nor `results`, as logs"),
        (b'{"outcomes": 1}', "is no baseline that this version reads"),
        (
            b'{"results": {"t": {"acc,none": 1}}}',
            "holds no scores of items, as there are no samples beside it; run it again with --log_samples",
        ),
        (b'{"results": 5}', "is not what lm-eval writes"),
    ],
)
def test_what_is_none_of_them_is_refused_in_one_line(tmp_path, content, why):
    path = tmp_path / "results_x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BaselineError, match=why) as caught:
        outcomes(path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_records_is_refused(tmp_path):
    with pytest.raises(BaselineError, match="holds no scores"):
        outcomes(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """What lm-eval writes about a task of an embedded model, as its own command does."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker

    from glu_prune.evaluation.evaluate import TASKS

    folder = tmp_path_factory.mktemp("lm-eval")
    tracker = EvaluationTracker(output_path=str(folder))
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(TASKS), include_defaults=False)
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=64)
    found = simple_evaluate(
        model=lm, tasks=["tiny_recall_mc"], task_manager=manager, log_samples=True, evaluation_tracker=tracker, bootstrap_iters=0,
    )  # fmt: skip
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for task in found["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    (path,) = folder.rglob("results_*.json")
    return path


@pytest.fixture(scope="module")
def ours() -> Store:
    lm = CountingLM(*load(locate("tiny-base"), "float32", "cpu"), batch_size=64)
    return Evaluator().evaluate(lm, "tiny_recall_mc")


def test_what_lm_eval_wrote_is_compared_with_a_store_item_by_item(written, ours, tmp_path):
    scores = {name: ScoreRecord(score=each.score, values=each.values, weights=each.weights) for name, each in ours.metrics.items()}  # fmt: skip
    mine = record(task="tiny_recall_mc", items=ours.items, outputs=ours.outputs, metrics=scores, settings={"num_fewshot": 0})  # fmt: skip
    found = compare(paired(outcomes(written), outcomes(fill(tmp_path / "store", mine))))
    assert found
    assert {(each.outcome, each.note) for each in found} == {("unchanged", "no item changed")}
    assert {each.about.n for each in found} == {480}


def test_a_folder_of_what_lm_eval_wrote_is_the_same(written):
    assert outcomes(written.parent) == outcomes(written)
    assert outcomes(written.parents[1]) == outcomes(written)


def test_samples_of_another_run_do_not_count(written):
    (samples,) = written.parent.glob("samples_*.jsonl")
    copy = samples.with_name(samples.name.replace("_2", "_1"))
    copy.write_text(samples.read_text())
    assert len(outcomes(written)) == len({each.about.key for each in outcomes(written)})
    copy.unlink()


def test_samples_that_are_not_lm_evals_are_refused(written, tmp_path):
    (samples,) = written.parent.glob("samples_*.jsonl")
    (tmp_path / written.name).write_text(written.read_text())
    for bad in ("{}\n", "[]\n", "nonsense\n", json.dumps({"filter": "none"}) + "\n"):
        (tmp_path / samples.name).write_text(bad)
        with pytest.raises(BaselineError, match="is not what lm-eval writes: "):
            outcomes(tmp_path / written.name)


def test_an_outcome_survives_the_way_through_a_baseline(written, tmp_path):
    found = outcomes(written)
    save(tmp_path / "x.json", Environment(machine="m", versions={}), found)
    again = outcomes(tmp_path / "x.json")
    here = [replace(each, about=each.about.model_copy(update={"model": f"./{each.about.model}"})) for each in found]
    assert again == sorted(here, key=lambda each: each.about.key)


SAMPLE = {
    "doc": {"q": "?"},
    "target": "a",
    "filter": "none",
    "metrics": ["acc"],
    "resps": [["x"]],
    "filtered_resps": ["x"],
    "arguments": {},
    "prompt_hash": "p",
    "target_hash": "t",
}


def results_of(folder: Path, samples: bytes | None = None, **changed: object) -> Path:
    """What lm-eval writes of six items of one task, with `changed` entries of each sample, or other `samples`."""
    folder.mkdir()
    every = [{**SAMPLE, "doc_id": n, "doc_hash": str(n), "acc": n % 2, **changed} for n in range(6)]
    told = "\n".join(map(json.dumps, every)).encode()
    (folder / "samples_arc_easy_1.jsonl").write_bytes(told if samples is None else samples)
    path = folder / "results_1.json"
    path.write_text(json.dumps({"results": {"arc_easy": {"acc,none": 0.5}}, "model_name": "m"}))
    return path


@pytest.mark.parametrize(
    "changed",
    [{"metrics": []}, {"metrics": 3}, {"acc": 10**400}, {"acc": []}, {"acc": None}, {"acc": float("nan")}, {"samples": b""}, {"samples": b"\xff\xfe" * 10_000},
     {"samples": b"1\n2"}, {"samples": b"[" * 100_000}, {"doc": 3}, {"filter": []}],
    ids=lambda each: str(each)[:30],
)  # fmt: skip
def test_samples_that_are_none_are_one_short_line_and_exit_code_2(tmp_path, capsys, changed):
    good, bad = results_of(tmp_path / "good"), results_of(tmp_path / "bad", **changed)
    for order in ((good, bad), (bad, good)):
        assert main(["compare", *map(str, order)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(bad) in line
        assert len(line) < 1500
    assert main(["compare", str(good), str(good)]) == 0


def test_a_results_file_that_is_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "results_1.json"
    os.mkfifo(path)
    with pytest.raises(BaselineError, match="it is no regular file"):
        outcomes(path)
