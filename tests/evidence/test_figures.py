import hashlib
import math
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.errors import ExpectationError
from glu_prune.evidence.figures import Energy, Evidence, Floor, read_evidence, standard_error
from tests.helpers.evidence import PUBLISHED, score

GOOD = {
    "scores.csv": """\
model,pruning_ratio,task,metric,value,stderr,source
a/b,0.0,gsm8k,"exact_match,strict-match",0.0637,0.0067,f.csv
a/b,0.0,gsm8k,"exact_match,flexible-extract",0.066,,f.csv
a/b,0.4,wikitext,word_perplexity,12.5,,f.csv
a/b,0.4,elsewhere,acc,0.5,,f.csv
""",
    "efficiency_runs.csv": """\
model,pruning_ratio,seed,workload,gpu,new_tokens,reported_ttft_ms,codecarbon_total_kwh
a/b,0.0,42,w,A card,100,20.5,
a/b,0.0,43,w,A card,100,,0.001
""",
    "items.csv": "task,metric,items,sources\ngsm8k,*strict*,1319,\ngsm8k,*,7,5\nwikitext,*,62,\n",
    "floors.csv": "task,metric,null,score,sd,items\ngsm8k,exact_match,uniform,0,,1319\nwikitext,word_perplexity,unigram,1000,0.5,62\n",
}


def written(folder: Path, **changed: str) -> Path:
    for name, text in GOOD.items():
        (folder / name).write_text(changed.get(name.removesuffix(".csv"), text))
    return folder


@pytest.fixture
def good(tmp_path) -> Evidence:
    return read_evidence(written(tmp_path))


def test_the_published_figures_are_read_whole():
    evidence = read_evidence(PUBLISHED)
    assert (len(evidence.scores), len(evidence.runs)) == (338, 252)
    found = evidence.score("meta-llama/Llama-3.2-1B", Decimal("0.4"), "ifeval", "prompt_level_strict_acc")
    assert (found.value, found.stderr, found.items, found.text) == (0.1516, 0.0154, 541, "0.1516")
    assert all(score.items for score in evidence.scores)
    assert {score.units for score in evidence.scores if score.task == "ifeval"} == {541}
    assert {score.items for score in evidence.scores if score.metric.startswith("inst_level")} == {834}
    run = next(run for run in evidence.runs if run.model.endswith("3B"))
    assert "codecarbon_total_kwh" not in {*run.figures, *run.energies}
    assert run.figures["ttft_ms"] > 0


def test_the_published_files_are_as_they_were_taken_over():
    digests = {
        "scores.csv": "07a4bbd0277bf05425a8ca15d8fd783bf1ee24f18344414452cd08cb103891f9",
        "efficiency_runs.csv": "0a4ff6d0afb6a7e9395f8bb46fb586aba457de111bc531b91fd3c5db22302877",
    }
    for name, digest in digests.items():
        assert hashlib.sha256((PUBLISHED / name).read_bytes()).hexdigest() == digest


def test_every_column_is_explained():
    readme = (PUBLISHED / "README.md").read_text()
    for path in PUBLISHED.glob("*.csv"):
        columns = path.read_text().splitlines()[0].split(",")
        assert [column for column in columns if f"`{column}`" not in readme] == []


def test_rows_are_typed(good):
    assert [each.items for each in good.scores] == [1319, 7, 62, None]
    assert good.scores[1].stderr is None
    assert [run.figures for run in good.runs] == [{"new_tokens": 100, "ttft_ms": 20.5}, {"new_tokens": 100}]
    assert [run.energies for run in good.runs] == [{}, {"codecarbon_total_kwh": Energy(0.001, "total", "kwh")}]
    assert good.floors[0] == Floor("gsm8k", "exact_match", "uniform", 0, None, 1319)


def test_floors_may_be_absent(tmp_path):
    (written(tmp_path) / "floors.csv").unlink()
    assert read_evidence(tmp_path).floors == ()


def test_a_metric_without_filter_finds_the_first_with_one(good):
    assert good.score("a/b", Decimal("0.0"), "gsm8k", "exact_match").text == "0.0637"
    assert good.score("a/b", Decimal(0), "gsm8k", "exact_match,flexible-extract").text == "0.066"
    assert good.score("a/b", Decimal("0.4"), "gsm8k", "exact_match") is None
    assert good.score("a/b", Decimal(0), "gsm8k", "exact") is None


def test_floors_are_found_with_and_without_a_filter():
    bare, strict, loose = (Floor("t", f"em{end}", "uniform", 0.0, None, 9) for end in ("", ",strict", ",loose"))
    assert Evidence(floors=(bare,)).floors_of("t", "em,loose") == (bare,)
    assert Evidence(floors=(strict, loose)).floors_of("t", "em") == (strict,)
    assert Evidence(floors=(strict, loose)).floors_of("t", "em,loose") == (loose,)
    assert Evidence(floors=(strict,)).floors_of("t", "em,loose") == ()
    assert Evidence(floors=(bare,)).floors_of("u", "em") == ()


@pytest.mark.parametrize(
    ("name", "old", "new", "complaint"),
    [
        ("scores", "pruning_ratio,task", "ratio,task", r"scores.csv:1: column pruning_ratio is missing; found model, ratio, task, .*; needed: model, pruning_ratio"),
        ("scores", "stderr,source", "source,source", "scores.csv:1: column stderr is missing"),
        ("scores", "task,metric,value,stderr,source\n", "task,metric,value,stderr,source,value\n", "scores.csv:1: column value occurs more than once"),
        ("scores", "0.0637", "high", "scores.csv:2: value is 'high'; allowed: a finite number"),
        ("scores", "0.0637", "nan", "scores.csv:2: value is 'nan'; allowed: a finite number"),
        ("scores", "0.0637", "1e999", "scores.csv:2: value is '1e999'; allowed: a finite number"),
        ("scores", "0.0637", "1_0", "scores.csv:2: value is '1_0'; allowed: a finite number"),
        ("scores", "0.0637", "", "scores.csv:2: value is empty"),
        ("scores", "0.0067", "-0.0067", "scores.csv:2: stderr is '-0.0067'; allowed: a finite number >= 0"),
        ("scores", "0.0067", "NaN", "scores.csv:2: stderr is 'NaN'; allowed"),
        ("scores", "0.4,wiki", "1.0,wiki", "scores.csv:4: pruning_ratio: ratio '1.0' is not allowed; .*0 <= ratio < 1"),
        ("scores", "0.4,wiki", "-0.1,wiki", "scores.csv:4: pruning_ratio: ratio '-0.1' is not allowed"),
        ("scores", "flexible-extract", "strict-match", "scores.csv:3: model a/b, pruning_ratio 0.0, .* is given a second time; allowed: once; the first is in line 2"),
        ("scores", "12.5", "0.5", "scores.csv:4: word_perplexity is 0.5; allowed: a number >= 1"),
        ("scores", ",f.csv", "", "scores.csv:2: the row has 6 cells; allowed: 7"),
        ("scores", "a/b,0.0,gsm8k", ",0.0,gsm8k", "scores.csv:2: model is empty"),
        ("scores", '"exact_match,strict-match"', '"exact_match,strict-match', "scores.csv: not CSV in UTF-8"),
        ("scores", GOOD["scores.csv"], "", "scores.csv:1: column model is missing; found nothing"),
        ("efficiency_runs", "workload,", "load,", "efficiency_runs.csv:1: column workload is missing"),
        ("efficiency_runs", "20.5", "fast", "efficiency_runs.csv:2: reported_ttft_ms is 'fast'; allowed: a finite number"),
        ("efficiency_runs", "20.5", "inf", "efficiency_runs.csv:2: reported_ttft_ms is 'inf'"),
        ("efficiency_runs", "0.0,42", "7,42", "efficiency_runs.csv:2: pruning_ratio: ratio '7' is not allowed"),
        ("efficiency_runs", "42", "4.2", "efficiency_runs.csv:2: seed is '4.2'; allowed: a whole number >= 0"),
        ("efficiency_runs", "0.0,43", "0,42", "efficiency_runs.csv:3: .*seed 42, workload w is given a second time"),
        ("items", "1319", "0", "items.csv:2: items is '0'; allowed: a whole number >= 1"),
        ("items", "1319", "many", "items.csv:2: items is 'many'; allowed: a whole number >= 1"),
        ("items", "*strict*", "*", r"items.csv:3: task gsm8k, metric \* is given a second time"),
        ("floors", "0.5,62", "-0.5,62", "floors.csv:3: sd is '-0.5'; allowed: a finite number >= 0"),
        ("floors", "1000", "0", "floors.csv:3: word_perplexity is 0; allowed: a number >= 1"),
        ("floors", "null", "floor", "floors.csv:1: column null is missing"),
        ("floors", "wikitext,word_perplexity,unigram", "gsm8k,exact_match,uniform", "floors.csv:3: .*null uniform is given a second time"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_file_line_found_and_allowed(tmp_path, name, old, new, complaint):
    text = GOOD[f"{name}.csv"]
    assert old in text
    with pytest.raises(ExpectationError, match=complaint) as caught:
        read_evidence(written(tmp_path, **{name: text.replace(old, new, 1)}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["scores.csv", "efficiency_runs.csv", "items.csv"])
def test_a_missing_file_is_named(tmp_path, name):
    (written(tmp_path) / name).unlink()
    with pytest.raises(ExpectationError, match=f"{name}: No such file or directory"):
        read_evidence(tmp_path)


def test_other_encodings_are_refused(tmp_path):
    (written(tmp_path) / "items.csv").write_bytes(b"task,metric,items\n\xff,*,3\n")
    with pytest.raises(ExpectationError, match=r"items\.csv: not CSV in UTF-8"):
        read_evidence(tmp_path)


def test_published_standard_errors_come_first():
    assert standard_error(score(0.3, stderr=0.02)).value == 0.02
    assert standard_error(score(0.3, stderr=0.02)).how == "reported"
    relative = standard_error(score(20.0, "perplexity", stderr=0.5))
    assert relative.value == pytest.approx(0.5 / 20)
    assert "relative" in relative.how


def test_binomial_standard_errors_where_none_is_published():
    found = standard_error(score(0.3))
    assert found.value == pytest.approx(math.sqrt(0.3 * 0.7 / 100))
    assert found.how == "binomial"
    assert "upper bound" in standard_error(score(0.3, "mc2")).how
    assert "upper bound" in standard_error(score(0.3, task="truthfulqa_mc2")).how


@pytest.mark.parametrize(("value", "stderr"), [(0.0, None), (1.0, None), (0.0, 0.0)])
def test_no_score_is_certain(value, stderr):
    assert standard_error(score(value, stderr=stderr)).value == pytest.approx(math.sqrt(2 / 104 * 102 / 104 / 100))


@pytest.mark.parametrize("metric", ["perplexity", "word_perplexity", "bits_per_byte"])
def test_likelihoods_without_an_error_are_taken_to_vary_as_much_as_their_mean(metric):
    found = standard_error(score(1.5, metric))
    mean = 1.5 if metric == "bits_per_byte" else math.log(1.5)
    assert found.value == pytest.approx(mean / 10)
    assert found.how == "assumed: items that vary as much as their mean"


@pytest.mark.parametrize(("value", "metric", "fields"), [(0.3, "acc", {"items": None}), (3.0, "acc", {})])
def test_none_where_none_can_be_given(value, metric, fields):
    found = standard_error(score(value, metric, **fields))
    assert (found.value, found.how) == (None, "no standard error can be given")


def test_items_of_one_source_are_not_independent():
    assert standard_error(score(0.3, items=200, sources=50)).value == pytest.approx(math.sqrt(0.3 * 0.7 / 50))


def test_perplexities_are_compared_as_logs():
    assert (score(math.e, "word_perplexity").scale, score(math.e, "word_perplexity").compared) == ("nats", 1.0)
    assert (score(0.6, "bits_per_byte").scale, score(0.6, "bits_per_byte").compared) == ("bits per byte", 0.6)
    assert (score(0.6).scale, score(0.6).compared) == ("score", 0.6)
