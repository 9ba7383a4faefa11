"""The plugin as its users meet it: inner pytest sessions over a small random model and the embedded tasks."""

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import codecarbon  # noqa: F401  inner sessions forget what they import first, and these cannot be imported twice
import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks  # noqa: F401
import pandas as pd
import pytest
import vl_convert  # noqa: F401
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from glu_prune.cli import main
from glu_prune.efficiency import footprint
from glu_prune.evaluation import half_precision
from glu_prune.experiment.executors.local import LocalExecutor
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate
from tests.helpers.reports import fits

EXPECTATIONS = """\
model: MODEL
ratios: [0.25, 0.5]
expect:
  - capability: factual_knowledge
    direction: up
    verdict: VERDICT
    why: a random model guesses, dense or pruned
  - capability: story_modelling
    direction: preserved
    margin: 5
    verdict: inconclusive
    why: it has no idea of stories, and loses none
"""
KNOWN = """\
model: tiny-base
ratios: [0.5]
expect:
  - capability: story_modelling
    direction: down
    verdict: refuted
    why: this is confirmed
"""
TEST = """\
def test_direction(glu_case, glu_check):
    glu_check(glu_case)
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random Llama with the embedded tokenizer: real, too narrow to know anything, and deep enough for its answers to be metered."""
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "random"
    embedded = locate("tiny-base").folder
    config = LlamaConfig.from_pretrained(embedded)
    config.update({"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 12, "num_attention_heads": 2})
    config.num_key_value_heads, config.head_dim = 2, 8
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder)
    return folder


@pytest.fixture(scope="module")
def warm_store(tmp_path_factory) -> Path:
    """A store shared by this module, so that each cell is computed once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def project(pytester: pytest.Pytester, model: Path, warm_store: Path):
    """A user's folder; call it with pytest's arguments to run the suite there."""
    pytester.makeini("[pytest]\nstrict = true\n")
    pytester.makepyfile(test_directions=TEST)
    pytester.mkdir("expectations")

    class Project:
        path = pytester.path

        def expect(self, verdict: str = "inconclusive", name: object = model, text: str = EXPECTATIONS) -> None:
            text = text.replace("MODEL", str(name)).replace("VERDICT", verdict)
            (pytester.path / "expectations" / "random.yaml").write_text(text)

        def run(self, *arguments: object, store: Path = warm_store) -> pytest.RunResult:
            return pytester.runpytest_inprocess(f"--glu-store={store}", "-p", "no:cacheprovider", *arguments)

    project = Project()
    project.expect()
    return project


def rows(project) -> pd.DataFrame:
    return pd.read_csv(project.path / "results" / "scores.csv")


def records(store: Path) -> list[Record]:
    return [Store(store).get(entry.key, Record) for entry in entries(store) if entry.kind is Record]


def test_claims_pass_and_tables_are_shown_and_written(project):
    result = project.run()
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        [
            "*random ppm-0.25, width 64 -> 48: *2 inconclusive*",
            "verdict *claim *dense->pruned *change (95 %) *p *floor",
            "[?]* inconclusive *factual_knowledge *0.??? -> 0.??? *0.290",
            "[?]* inconclusive *= story_modelling ±5 *1.431",
            "*random ppm-0.5, width 64 -> 32: *",
            "• spoil no verdict: *at_chance (1)*",
            "*verdicts as declared unless said*",
            "tables: *results/*",
        ]
    )
    assert {path.name for path in (project.path / "results").iterdir()} == {
        "scores.csv", "why.csv", "groups.csv", "findings.csv", "evaluations.csv", "report.md", "report.json",
        ".glu-prune-files.json",
    }  # fmt: skip
    assert list(rows(project)["ratio"]) == [0.25, 0.25, 0.5, 0.5]
    evaluations = json.loads((project.path / "results" / "report.json").read_text())["evaluations"]
    assert [row["arm"] for row in evaluations] == ["dense", "ppm-0.25", "ppm-0.5"]
    assert all(row["tokens_per_second"] > 0 for row in evaluations)
    assert all(row["joules"]["cpu"] > 0 for row in evaluations)
    report = fits((project.path / "results" / "report.json").read_text())
    assert all((report.why, report.groups, report.cells))


def test_a_page_shows_what_changed_item_by_item(project, warm_store):
    result = project.run("-k", "ratio_0.5-factual", "--glu-report=page.html")
    result.stdout.fnmatch_lines(["page: *page.html"])
    text = (project.path / "page.html").read_text()
    (items,) = json.loads(re.search(r'id="items-data">(.*?)</script>', text)[1])
    assert items["about"].endswith("random, factual_knowledge at 0.5")
    assert items["found"] >= len(items["rows"]) > 0
    row = items["rows"][0]
    assert (row["dense"], row["dense_score"]) != (row["pruned"], row["pruned_score"])
    assert row["question"]
    assert row["target"]
    claims = str(project.path / "expectations")
    assert main(["report", str(warm_store), "--expectations", claims, "--out", "again.html"]) == 0
    every = json.loads(re.search(r'id="items-data">(.*?)</script>', Path("again.html").read_text())[1])
    (same,) = (each for each in every if each["about"] == items["about"])
    assert same["found"] == items["found"]


def test_texts_that_are_only_scored_change_in_their_scores(project):
    project.run("-k", "ratio_0.5-story", "--glu-report=page.html")
    (items,) = json.loads(re.search(r'id="items-data">(.*?)</script>', (project.path / "page.html").read_text())[1])
    (row,) = pd.read_csv(project.path / "results" / "why.csv").to_dict("records")
    assert items["found"] == row["better"] + row["worse"] > 0
    assert {(each["dense"], each["pruned"]) for each in items["rows"]} == {(None, None)}
    worse = next(each for each in items["rows"] if each["change"] == "worse")
    assert worse["dense_score"] < worse["pruned_score"], "a perplexity rises"


def test_dash_k_selects_one_ratio(project):
    result = project.run("-k", "ratio_0.5", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*test_direction[[]random-ratio_0.5-factual_knowledge[]]", "2/4 tests collected*"])


def test_a_second_run_computes_nothing_and_says_the_same(project, warm_store):
    project.run()
    first = rows(project)
    files = {path: path.stat().st_mtime_ns for path in (warm_store / "cells").iterdir()}
    result = project.run()
    result.stdout.no_fnmatch_line("*loading*")
    assert {path: path.stat().st_mtime_ns for path in (warm_store / "cells").iterdir()} == files
    pd.testing.assert_frame_equal(rows(project), first)


def test_what_runs_cells_is_let_go_when_the_session_ends(project, monkeypatch):
    let_go = []
    monkeypatch.setattr(LocalExecutor, "shutdown", lambda each: let_go.append(each))
    project.run("-k", "ratio_0.5-factual")
    assert len(let_go) == 1


def test_without_its_store_a_run_gives_the_same_scores(project, tmp_path):
    project.run("-k", "ratio_0.5-story")
    first = rows(project)
    result = project.run("-k", "ratio_0.5-story", store=tmp_path / "fresh")
    result.stdout.fnmatch_lines(["*loading*random*", "*random dense tiny_stories: 400 items in*"])
    pd.testing.assert_frame_equal(rows(project), first)


def test_a_verdict_that_is_not_declared_fails_where_it_was_claimed(project):
    project.expect(text=KNOWN)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*random.yaml:4: declared refuted, found story_modelling down: confirmed. *above the floor*unigram*"]
    )


def test_unexpectedly_inconclusive_is_its_own_outcome(project):
    project.expect("confirmed")
    result = project.run()
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*: 2 inconclusive ─*", "*: confirmed was declared*", "*2 passed, 2 inconclusive*"])


def test_strict_fails_what_is_inconclusive(project):
    project.expect("confirmed")
    project.run("--glu-strict").assert_outcomes(passed=2, failed=2)


def test_exitfirst_and_last_failed_work(project, pytester, warm_store):
    project.expect(text=KNOWN)
    result = pytester.runpytest_inprocess(f"--glu-store={warm_store}", "-x")
    result.stdout.fnmatch_lines(["*1 failed*"])
    result = pytester.runpytest_inprocess(f"--glu-store={warm_store}", "--lf", "--collect-only", "-q")
    result.stdout.fnmatch_lines(["*ratio_0.5-story_modelling*", "1 test collected*"])


def test_junit_carries_the_figures(project):
    project.run("--junitxml=out.xml", "-k", "ratio_0.5")
    (first, *_) = ET.parse(project.path / "out.xml").findall(".//testcase/properties")
    found = {each.get("name"): each.get("value") for each in first}
    (row, *_) = json.loads((project.path / "results" / "report.json").read_text())["scores"]
    assert found == {
        name: str(row["outcome" if name == "verdict" else name])
        for name in "model declared verdict capability ratio dense pruned delta low high p floor".split()
    }


@pytest.mark.slow("answers everything again in two more processes")
def test_parallel_runs_agree_with_serial_ones(project, tmp_path):
    project.run()
    serial = rows(project)
    result = project.run("-n", "2", "-v", store=tmp_path / "parallel")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["dense *not measured: cases run side by side under pytest-xdist*"])
    order = ["ratio", "capability"]
    pd.testing.assert_frame_equal(
        rows(project).sort_values(order, ignore_index=True), serial.sort_values(order, ignore_index=True)
    )


def test_an_interruption_where_python_knows_no_line_is_an_interruption(pytester):
    pytester.makepyfile(
        test_loop="""
        def test_interrupted():
            exec(compile("raise KeyboardInterrupt", "loop.py", "exec").replace(co_linetable=b""))
    """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "test_loop.py")
    assert result.ret == pytest.ExitCode.INTERRUPTED


def test_bad_files_are_errors_at_collection(project):
    project.expect(text=EXPECTATIONS.replace("factual_knowledge", "factual_knowlege"))
    result = project.run()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*random.yaml:4: capability 'factual_knowlege' does not exist; did you mean*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_corrupt_records_are_set_aside_named_and_computed_again(project, tmp_path, warm_store):
    project.run("-k", "ratio_0.5-story")
    shutil.copytree(warm_store, tmp_path / "copy")
    before = rows(project)
    broken = [*(tmp_path / "copy" / "cells").glob("*.parquet")]
    for path in broken:
        path.write_bytes(path.read_bytes()[:-9])
    result = project.run("-k", "ratio_0.5-story", store=tmp_path / "copy")
    result.stdout.fnmatch_lines(["  *: computed again, as its record is corrupt: *; it was moved to */corrupt/*.1"])
    pd.testing.assert_frame_equal(rows(project), before)
    assert len([*(tmp_path / "copy" / "corrupt").iterdir()]) > 0


def test_a_model_that_is_not_here_is_not_collected(project):
    project.expect(name="nobody/nothing-7b")
    result = project.run("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "nothing was judged: claims are about nobody/nothing-7b (not on this machine)",
            "SKIPPED*no claim of this kind is about a model that is here*",
        ],
        consecutive=False,
    )


def test_a_model_that_is_asked_for_and_not_here_is_an_error(project):
    project.expect(name="nobody/nothing-7b")
    result = project.run("--glu-model", "nobody/nothing-7b")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*model 'nobody/nothing-7b' is not on this machine*hf download nobody/nothing-7b*"])


def test_claims_about_any_model_are_collected_for_the_one_that_is_named(project, model):
    project.expect(name="any")
    project.run().assert_outcomes(skipped=1)
    result = project.run("--glu-model", model, "-k", "ratio_0.5", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_direction?random-ratio_0.5-factual_knowledge? PASSED*", "*capabilities*"])
    result = project.run("--glu-model", "nobody/nothing-7b")
    result.stdout.fnmatch_lines(["*model 'nobody/nothing-7b' is not on this machine*"])


def test_a_folder_may_be_named_by_an_environment_variable(project, model, monkeypatch):
    project.expect(name="$MODELS/random")
    monkeypatch.delenv("MODELS", raising=False)
    project.run().assert_outcomes(skipped=1)
    project.run("--glu-model", "$MODELS/random").stdout.fnmatch_lines(
        ["*model '$MODELS/random' is not on this machine (set $MODELS): *"]
    )
    monkeypatch.setenv("MODELS", str(model.parent))
    project.run().assert_outcomes(skipped=1)
    project.run("--glu-model", model, "-k", "ratio_0.5").assert_outcomes(passed=2)


def test_a_model_without_expectations_is_an_error(project):
    result = project.run("--glu-model", "other")
    result.stdout.fnmatch_lines(
        ["*no expectation file in *expectations is about model 'other'; they are about: *random"]
    )


def test_a_missing_expectation_file_is_an_error(project):
    project.run("--glu-expectations", "absent.yaml").stdout.fnmatch_lines(["*absent.yaml: No such file or directory*"])


def test_a_model_without_glu_blocks_stops_the_run_in_one_line(project, tmp_path, model):
    folder = tmp_path / "gpt2"
    GPT2LMHeadModel(GPT2Config(vocab_size=2048, n_embd=8, n_layer=1, n_head=2, n_positions=128)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, folder)
    project.expect(name=folder)
    result = project.run("-k", "ratio_0.5 and story")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: pruning of {folder}: GPT2LMHeadModel has no GLU block*"])


@pytest.mark.parametrize("size", ["0", "-1", "many"])
def test_batch_sizes_are_checked(project, size):
    result = project.run("--glu-batch-size", size)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*batch size '{size}' is not allowed*"])


@pytest.mark.parametrize(
    ("backend", "complaint"),
    [
        ("hf,device", "backend 'hf,device' must not set device: set it with --glu-device*"),
        ("hf,a=1,b", "backend 'hf,a=1,b' is not allowed at 'b'; write NAME or NAME,key=value,... with each key once"),
        ("hff", "backend hff: lm-eval has no backend 'hff'; did you mean 'hf'[?] it has: *"),
        ("dummy", "backend dummy: backend 'dummy' loads no model from a folder*"),
    ],
)
def test_a_backend_that_cannot_be_used_is_one_usage_line(project, tmp_path, backend, complaint):
    result = project.run(f"--glu-backend={backend}", store=tmp_path / "empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])
    assert len([line for line in result.errlines if line]) == 1
    result.stdout.no_fnmatch_line("*loading*")


@pytest.mark.slow("imports all libraries in a process of its own; what backends answer is tested without")
def test_a_backend_answers_and_the_same_verdicts_come_back(project, pytester, tmp_path):
    """In a process of its own: what was written for the backend must be gone when that ends."""
    chosen = ("-k", "ratio_0.5 and knowledge")
    project.run(*chosen)
    ours = rows(project)
    store = tmp_path / "served"
    result = pytester.runpytest_subprocess(
        "--glu-backend=hf,softmax_dtype=float32", f"--glu-store={store}", "-v", *chosen
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*loading *random dense into hf,softmax_dtype=float32 (float32)",
            "*loading *random ppm-0.5 into hf,softmax_dtype=float32 (float32)",
            "*: what the evaluations cost ─*",
            "dense * 64 * 4.00 * - * - *",
        ]
    )
    pd.testing.assert_frame_equal(rows(project), ours, rtol=1e-3)
    assert {path.name for path in store.iterdir()} >= {"cells", "locks", "glu-prune-store.json"}
    assert not (store / "checkpoints").exists()


def test_other_suites_see_nothing_of_the_plugin(pytester):
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    assert "glu" not in result.stdout.str().replace("plugins: ", "").split("collected")[1]
    assert not (pytester.path / "results").exists()


def test_collecting_imports_no_heavy_library(project):
    code = (
        "import sys, pytest; pytest.main(['--collect-only', '-q']); "
        "sys.exit(','.join(m for m in ('torch', 'transformers', 'lm_eval', 'pandas', 'codecarbon') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.path, capture_output=True, text=True)
    assert "4 tests collected" in done.stdout
    assert (done.returncode, done.stderr) == (0, "") or done.stderr.strip() == ""


COSTS = """\
model: tiny-base
ratios: [0.5]
expect:
  - efficiency: peak_memory
    workload: "*_b1"
    direction: down
    verdict: inconclusive
    why: fewer weights; two rounds show nothing
"""
QUICK = ("--glu-rounds=2", "--glu-window=0.3")


@pytest.fixture
def costs(project, pytester, processes, monkeypatch):
    """A user's folder with one claim about memory, which is measured where other tests measure it, too."""

    class Shared:
        call = processes.call

        def close(self) -> None:
            """Others go on with it."""

    monkeypatch.setattr(footprint, "fresh_processes", Shared)
    pytester.makepyfile(
        test_directions="def test_efficiency(glu_efficiency, glu_check):\n    glu_check(glu_efficiency)\n"
    )
    project.expect(text=COSTS)
    return project


@pytest.mark.slow("measures memory in processes that import all libraries")
def test_costs_are_measured_once_and_shown(costs, tmp_path):
    """Two rounds of the real thing: pruning, windows under codecarbon, and memory in fresh processes."""
    store = tmp_path / "costs"
    result = costs.run(*QUICK, "-v", store=store)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "*loading tiny-base*",
            "*tiny-base dense, ppm-0.5 p64_n32_b1: 2 rounds in *",
            "*tiny-base: claims about cost ─*",
            "0.5 *peak_memory in [*]_b1 *inconclusive*",
            "*tiny-base: efficiency ─*",
            "ratio *workload *figure *unit *n *dense *pruned *change, % *dense again, % *how",
            "0.5 *p64_n32_b1 *time_to_first_token *ms * 2 * (* to *) * (* to *) *host clock",
            "0.5 *p64_n32_b1 *joules_per_token *J * 2 *(* to *)*cpu: *",
            "0.5 *p64_n32_b1 *peak_memory *MB * 4 *resident set*",
            "0.5 *p64_n32_b1 *model_bytes *MB * 1 * -*parameters x bytes*",
            "*Student's t*",
            "tables: results/ (*4 tables)",
        ]
    )
    table = pd.read_csv(costs.path / "results" / "efficiency.csv")
    assert table["figure"].is_unique
    report = fits((costs.path / "results" / "report.json").read_text())
    assert all((report.costs, report.efficiency, report.energy))
    files = {path: path.stat().st_mtime_ns for path in (store / "cells").iterdir()}
    assert len(files) == 1
    again = costs.run(*QUICK, "-v", store=store)
    again.assert_outcomes(passed=1)
    again.stdout.no_fnmatch_line("*loading tiny-base*")
    again.stdout.fnmatch_lines(["*tiny-base: energy by channel ─*"])
    assert {path: path.stat().st_mtime_ns for path in (store / "cells").iterdir()} == files
    pd.testing.assert_frame_equal(pd.read_csv(costs.path / "results" / "efficiency.csv"), table)


@pytest.mark.slow("measures costs again and starts two workers")
def test_costs_that_were_measured_are_served_side_by_side(costs, tmp_path):
    store = tmp_path / "costs"
    for workers in ((), ("-n", "2")):
        costs.run(*QUICK, *workers, store=store).assert_outcomes(passed=1)


def test_with_a_backend_no_costs_are_measured(costs, tmp_path):
    result = costs.run("--glu-backend=hf", "-rs", *QUICK, store=tmp_path / "empty")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*random.yaml:4: not measured: *not of a backend; leave out --glu-backend"])
    result.stdout.no_fnmatch_line("*loading*")


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        pytest.param(each, outcome, marks=pytest.mark.slow("starts two more workers"))
        for each, outcome in (((), "skipped"), (("--glu-strict",), "failed"))
    ],
)
def test_side_by_side_no_costs_are_measured(costs, tmp_path, arguments, outcome):
    result = costs.run("-n", "2", "-rsf", *QUICK, *arguments, store=tmp_path / "empty")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*random.yaml:4: not measured: cases run side by side under pytest-xdist; *-n 0*"])
    assert not list((tmp_path / "empty").glob("cells/*"))


@pytest.mark.parametrize(
    ("argument", "complaint"),
    [
        ("--glu-window=0.05", "window '0.05' is not allowed; it is a number of seconds from 0.1 to 3600"),
        ("--glu-window=nan", "window 'nan' is not allowed*"),
        ("--glu-window=soon", "window 'soon' is not allowed*"),
        ("--glu-rounds=0", "number of rounds '0' is not allowed; it is a whole number of at least 1"),
        ("--glu-rounds=1", "*at least 2 rounds; found 1*"),
        ("--glu-rounds=2.5", "number of rounds '2.5' is not allowed*"),
        ("--glu-grid=usa", "codecarbon has no grid 'usa'; allowed are * such as CHN*"),
    ],
)
def test_bad_options_about_costs_are_one_usage_line(costs, tmp_path, argument, complaint):
    result = costs.run(argument, store=tmp_path / "empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {complaint}"])
    assert len([line for line in result.errlines if line]) == 1
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_workload_that_does_not_exist_stops_the_run_before_a_model_loads(costs, tmp_path):
    costs.expect(text=COSTS.replace("*_b1", "*_b4"))
    result = costs.run(*QUICK, store=tmp_path / "empty")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *random.yaml:4: no workload of suite embedded is called '[*]_b4'; there are p64*"]
    )


RECALL = """\
model: tiny-base
ratios: [0.5]
expect:
  - {capability: factual_recall, direction: down, why: facts live in the neurons}
  - {capability: story_modelling, direction: down, why: so do stories}
"""


@pytest.mark.slow("answers all of two tasks")
def test_early_answers_stop_early_agree_with_all_and_are_kept(project, tmp_path):
    project.expect(text=RECALL)
    result = project.run("--glu-sequential", "-v", store=tmp_path)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*tiny-base dense tiny_recall 0-64: 64 items in*",
            "*tiny-base ppm-0.5 tiny_recall 0-64: 64 items in*",
            "*betting e-process p = *; decided after 64 of 480 items, *",
            "ratio *items *of all *floor*",
            "0.5 *factual_recall *64 *480 *confirmed*",
            "0.5 *story_modelling *128 *400 *confirmed*",
        ]
    )
    result.stdout.no_fnmatch_line("*tiny_recall 64-128*")
    early = rows(project)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()}
    project.run("--glu-sequential", store=tmp_path).stdout.no_fnmatch_line("*loading*")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").iterdir()} == files
    pd.testing.assert_frame_equal(rows(project), early)
    project.run(store=tmp_path).assert_outcomes(passed=2)
    late = rows(project)
    assert list(late["items"]) == [480, 400]
    assert list(late["verdict"]) == list(early["verdict"])
    assert "of all" not in late


def test_early_answers_use_all_items_where_they_do_not_decide(project):
    """A random model: its verdicts rest on scores at their floors, which is a fact about all items."""
    result = project.run("--glu-sequential", "-k", "ratio_0.5")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["[?]* inconclusive *factual_knowledge *", "*after 480 of 480 items*"])


def test_early_answers_need_runs(project):
    result = project.run("--glu-sequential", "--glu-evidence", "published")
    result.stderr.fnmatch_lines(
        ["ERROR: --glu-sequential stops runs early; with --glu-evidence published nothing is run"]
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.slow("answers all subsets twice")
def test_early_answers_set_broken_records_aside_and_compute_them_again(project, tmp_path):
    project.run("--glu-sequential", "-k", "ratio_0.5-factual", store=tmp_path)
    before = rows(project)
    broken = sorted((tmp_path / "cells").glob("*.parquet"))
    for path in broken:
        path.write_text("broken")
    result = project.run("--glu-sequential", "-k", "ratio_0.5-factual", store=tmp_path)
    result.stdout.fnmatch_lines(["*it is no record in Parquet*"])
    assert sorted(path.name for path in (tmp_path / "corrupt").iterdir()) == [f"{path.name}.1" for path in broken]
    assert rows(project).equals(before)


def test_a_limit_is_a_quick_look_that_is_never_taken_for_more(project, tmp_path):
    chosen = ("-k", "ratio_0.5-factual")
    result = project.run("--glu-limit", "20", *chosen, store=tmp_path)
    assert result.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    result.stdout.fnmatch_lines(["*random dense tiny_recall_mc 0-20: 20 items in*", "A quick look: at most 20 items *"])
    assert list(rows(project)["items"]) == [20]
    project.run(*chosen, store=tmp_path).assert_outcomes(passed=1)
    assert list(rows(project)["items"]) == [480]


def test_a_file_may_ask_some_items_of_a_task(project, tmp_path):
    items = "items: {tiny_recall_mc: 30}\n"
    project.expect(text=items + EXPECTATIONS)
    chosen = ("-k", "ratio_0.5-factual")
    result = project.run(*chosen, store=tmp_path)
    result.stdout.fnmatch_lines(["*random dense tiny_recall_mc 0-30: 30 items in*"])
    assert list(rows(project)["items"]) == [30]
    assert "a sample of 30 items" in rows(project)["note"][0]
    project.run("--glu-limit", "20", *chosen, store=tmp_path)
    assert list(rows(project)["items"]) == [20], "the fewest of both"
    project.run("--glu-sequential", *chosen, store=tmp_path)
    assert list(rows(project)["items"]) == [30]
    project.expect(text=items.replace("tiny_recall_mc", "tiny_recal_mc") + EXPECTATIONS)
    result = project.run(*chosen, store=tmp_path)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*.yaml:1: task 'tiny_recal_mc' does not exist; did you mean 'tiny_recall_mc'?*"])


def test_a_limit_beside_early_answers_is_one_usage_line(project):
    result = project.run("--glu-limit", "20", "--glu-sequential")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --glu-sequential and --glu-limit both say how many items are asked; *"])


def test_a_chat_template_that_is_not_there_stops_the_run_before_a_model_loads(project, tmp_path):
    project.expect(text=RECALL + "chat_template: true\n")
    result = project.run(store=tmp_path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: chat template of tiny-base: the tokenizer of tiny-base has no chat template; *"]
    )


@pytest.mark.slow("answers a task in two ways")
def test_with_and_without_a_chat_template_a_model_is_judged_side_by_side(project, model, tmp_path):
    chat = tmp_path / "chat"
    shutil.copytree(model, chat)
    tokenizer = AutoTokenizer.from_pretrained(chat)
    tokenizer.chat_template = (
        "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} {% endfor %}"
    )
    tokenizer.save_pretrained(chat)
    text = EXPECTATIONS.replace("VERDICT", "inconclusive").replace("ratios: [0.25, 0.5]", "ratios: [0.5]")
    project.expect(name=chat, text=text)
    (project.path / "expectations" / "chat.yaml").write_text(f"{text.replace('MODEL', str(chat))}chat_template: true\n")
    result = project.run("-k", "knowledge", store=tmp_path / "store")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*(chat) ppm-0.5, *", "*chat ppm-0.5, *"])
    templated, plain = rows(project).itertuples()
    assert plain.floor == templated.floor
    found = records(tmp_path / "store")
    for arm in ("dense", "ppm-0.5"):
        one, other = (each.outputs for each in found if each.arm == arm)
        assert all(with_template != without for with_template, without in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        (("--glu-attention", "psychic"), "*attention psychic for *random: *"),
        (("--glu-device-map", "nowhere"), "*invalid choice: 'nowhere' (choose from 'auto', *"),
    ],
)
def test_options_that_no_model_can_follow_are_one_line_and_nothing_runs(project, tmp_path, option, complaint):
    result = project.run("-k", "ratio_0.5", *option, store=tmp_path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])
    result.stderr.no_fnmatch_line("*Traceback*")


def test_a_dtype_that_is_left_open_has_the_keys_of_the_one_that_is_taken(project, warm_store, monkeypatch):
    monkeypatch.setattr(half_precision, "seconds_of_product", {"float32": 1.0, "bfloat16": 4.0, "float16": 4.0}.get)
    project.run("-k", "ratio_0.5-factual").assert_outcomes(passed=1)
    before = {each.key for each in records(warm_store)}
    for _ in range(2):
        result = project.run("-k", "ratio_0.5-factual", "--glu-dtype=auto")
        result.assert_outcomes(passed=1)
        assert {each.key for each in records(warm_store)} == before
    result.stdout.no_fnmatch_line("*: auto is *")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--glu-device=cuda",), "*dtype 'auto' compares data types on the device cpu; for cuda, name one*"),
        (("--glu-backend=hf",), "*dtype 'auto' compares data types on the device cpu; for backend hf, name one*"),
        (("--glu-contract=tiny-base",), "*--glu-dtype auto compares data types before *, name one"),
    ],
)
def test_a_dtype_that_cannot_be_left_open_is_one_line_and_nothing_runs(project, tmp_path, options, complaint):
    result = project.run("--glu-dtype=auto", *options, store=tmp_path)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([complaint])
    result.stderr.no_fnmatch_line("*Traceback*")


@pytest.mark.slow("answers a task again")
def test_a_device_map_spreads_models_and_is_part_of_their_cells(project, tmp_path):
    project.run("-k", "ratio_0.5-factual", "--glu-device-map", "auto", store=tmp_path).assert_outcomes(passed=1)
    assert {found.settings["device_map"] for found in records(tmp_path)} == {"auto"}


@pytest.mark.slow("answers a task twice")
def test_another_attention_gives_other_cells(project, tmp_path):
    project.run("-k", "ratio_0.5-factual", store=tmp_path)
    before = set((tmp_path / "cells").glob("*.parquet"))
    project.run("-k", "ratio_0.5-factual", "--glu-attention", "eager", store=tmp_path)
    assert len(set((tmp_path / "cells").glob("*.parquet")) - before) == 2


COLUMNS = """\
def pytest_glu_columns(table, row):
    if table == "scores":
        return {"kept, %": round(100 * row["pruned"] / row["dense"], 1)}
"""


@pytest.mark.parametrize(
    "arguments", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow("starts two more workers"))]
)
def test_columns_of_the_users_stand_in_every_table_they_are_for(project, pytester, arguments):
    pytester.makeconftest(COLUMNS)
    result = project.run("-k", "ratio_0.5", *arguments)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["verdict *floor kept, %", "[?]* inconclusive *factual_knowledge *0.290 *.*"])
    table = rows(project)
    assert list(table.columns)[-1] == "kept, %"
    assert list(table["kept, %"]) == [
        round(100 * p / d, 1) for p, d in zip(table["pruned"], table["dense"], strict=True)
    ]
    assert "kept, %" in (project.path / "results" / "report.md").read_text()


def test_a_column_that_cannot_be_shown_fails_the_case_and_names_its_function(project, pytester):
    pytester.makeconftest(COLUMNS.replace("kept, %", "delta"))
    result = project.run("-k", "ratio_0.5 and story")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*conftest.py:1: pytest_glu_columns returned a column 'delta', which the table has*"])


OWN = """\
model: MODEL
ratios: [0.5]
tasks: tasks
capabilities:
  pets: {task: pets, metric: METRIC, measures: cats or dogs}
expect:
  - {capability: pets, direction: down, verdict: VERDICT, why: a random model guesses}
"""
PETS = """\
task: pets
custom_dataset: !function pets.load
test_split: test
output_type: multiple_choice
doc_to_text: "A pet:"
doc_to_target: gold
doc_to_choice: ["cat", "dog"]
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""


@pytest.fixture
def pets(project, pytester):
    """A user's folder with a task of their own."""
    folder = project.path / "expectations" / "tasks"
    folder.mkdir()
    (folder / "pets.yaml").write_text(PETS)
    (folder / "pets.py").write_text(
        "from datasets import Dataset\n\n"
        "def load(**_):\n    return {'test': Dataset.from_list([{'gold': i % 2} for i in range(32)])}\n"
    )
    project.expect(text=OWN.replace("METRIC", "acc"))
    return project


def test_a_task_of_the_users_is_measured_kept_and_measured_again_when_it_changes(pets, tmp_path):
    result = pets.run(store=tmp_path)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*random ppm-0.5 pets: 32 items in*", "*inconclusive *pets *0.500"])
    pets.run(store=tmp_path).stdout.no_fnmatch_line("*items in*")
    path = pets.path / "expectations" / "tasks" / "pets.yaml"
    path.write_text(path.read_text().replace("A pet:", "My pet:"))
    pets.run(store=tmp_path).stdout.fnmatch_lines(["*random dense pets: 32 items in*"])


def test_a_metric_that_a_task_has_not_is_found_before_a_model_loads(pets, tmp_path):
    pets.expect(text=OWN.replace("METRIC", "f1"))
    result = pets.run(store=tmp_path)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*random.yaml:7: pets: task pets has no metric 'f1' that scores item by item; it has acc"]
    )
    result.stdout.no_fnmatch_line("*loading*")


DISTANCES = """\
model: MODEL
ratios: [0.5]
expect:
  - {distance: flips, capability: factual_knowledge, at_most: 0.99, why: it guesses}
  - {distance: kl, capability: story_modelling, at_most: 5, why: it predicts next to nothing}
"""


def test_distances_are_judged_shown_and_kept(project):
    project.expect(text=DISTANCES)
    (project.path / "test_directions.py").write_text(
        "def test_distance(glu_distance, glu_check):\n    glu_check(glu_distance)\n"
    )
    result = project.run("--glu-limit=32")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*confirmed *≤ flips factual_knowledge *(≤ 0.99) *",
            "*confirmed *≤ kl story_modelling *(≤ 5) *",
        ]
    )
    table = pd.read_csv(project.path / "results" / "distances.csv")
    assert table["distance"].tolist() == ["flips", "kl"]
    assert (table["value"] < table["high"]).all()
    assert len(fits((project.path / "results" / "report.json").read_text()).distances) == 2
    again = project.run("--glu-limit=32", "--collect-only", "-q")
    again.stdout.fnmatch_lines(["*test_distance?random-ratio_0.5-story_modelling-kl?"])
    assert "items in" not in project.run("--glu-limit=32").stdout.str()
