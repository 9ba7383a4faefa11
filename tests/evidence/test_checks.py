import dataclasses
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.evidence.checks import CHECKS, examine
from glu_prune.evidence.figures import Floor, Run, read_evidence
from glu_prune.results.findings import Finding
from tests.helpers.evidence import PUBLISHED, score

EVIDENCE = read_evidence(PUBLISHED)
BASE, LARGE = "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"
RAW, NET, TOTAL = "reported_energy_raw_kwh", "reported_energy_net_kwh", "codecarbon_total_kwh"
CHANCE = (
    Floor("truthfulqa_mc1", "acc", "uniform", 0.225, None, 817),
    Floor("mmlu", "acc", "uniform", 0.25, None, 14042),
)


def found(check: str, **rows) -> list[Finding]:
    return [finding for finding in examine(**rows) if finding.check == check]


def changed(runs, change) -> list[Run]:
    found = []
    for run in runs:
        columns = {**run.figures, **{name: each.value for name, each in run.energies.items()}}
        found.append(Run.of_columns(run.model, run.ratio, run.seed, run.workload, columns | change(columns)))
    return found


def run(seed: int = 0, ratio: str = "0", workload: str = "w", **figures: float) -> Run:
    return Run.of_columns("m", Decimal(ratio), seed, workload, figures)


def of_model(model: str) -> list[Run]:
    return [run for run in EVIDENCE.runs if run.model == model]


# energy_unit


def test_published_kilowatt_hours_that_are_kilograms():
    (finding,) = found("energy_unit", runs=EVIDENCE.runs)
    assert (finding.model, finding.subject) == (BASE, RAW)
    assert f"{RAW} is 0.349226 x {TOTAL} in each of 126 runs" in finding.says
    assert f"{RAW} looks like kg of CO2 taken for kWh, and it is below codecarbon_gpu_kwh in every run" in finding.says
    assert f"{NET} = {RAW} - 31.5532 W x window_seconds" in finding.says
    assert f"joules_per_token = 3,600,000 x {NET} / new_tokens" in finding.says
    assert finding.spoils == {RAW, NET, "joules_per_token"}
    assert finding.touches(BASE, "joules_per_token", "mmlu_throughput_b8")
    assert not finding.touches(BASE, TOTAL, "mmlu_throughput_b8")
    assert not finding.touches(LARGE, "joules_per_token", "mmlu_throughput_b8")


def mended(figures) -> dict[str, float]:
    net = figures[TOTAL] - 31.5 * figures["window_seconds"] / 3.6e6
    return {RAW: figures[TOTAL], NET: net, "joules_per_token": 3.6e6 * net / figures["new_tokens"]}


def test_mended_energies_are_sound():
    assert found("energy_unit", runs=changed(of_model(BASE), mended)) == []


def test_without_a_second_energy_nothing_can_be_said():
    assert found("energy_unit", runs=of_model(LARGE)) == []
    alone = [dataclasses.replace(each, figures={}, energies={RAW: each.energies[RAW]}) for each in of_model(BASE)]
    assert found("energy_unit", runs=alone) == []


def test_four_runs_may_be_luck():
    assert found("energy_unit", runs=of_model(BASE)[:4]) == []
    assert found("energy_unit", runs=of_model(BASE)[:5]) != []


LOADS = st.lists(st.floats(0.001, 10), min_size=5, max_size=12)


def metered(loads, factor, noise, names=("energy_a_kwh", "energy_b_kwh")):
    first, second = names
    return [
        run(seed, **{first: load, second: load * factor * (1 + noise * seed)}) for seed, load in enumerate(loads)
    ]  # fmt: skip


@given(LOADS, st.floats(0.02, 5), st.floats(1e-4, 0.2))
def test_an_honest_second_meter_is_never_flagged(loads, factor, noise):
    assert found("energy_unit", runs=metered(loads, factor, noise)) == []


@given(LOADS, st.floats(0.02, 0.8).filter(lambda each: abs(each - 0.1) > 0.001))
def test_a_computed_one_always_is(loads, factor):
    (finding,) = found("energy_unit", runs=metered(loads, factor, 0))
    assert finding.subject == "energy_b_kwh"
    assert "kg of CO2" in finding.says
    assert finding.spoils == {"energy_b_kwh"}


@pytest.mark.parametrize("factor", [1, 1000, 0.001, 10, 3.6e6, 3.6e3, 1 / 3.6e6])
def test_units_may_be_converted(factor):
    assert found("energy_unit", runs=metered([1, 2, 3, 5, 4], factor, 0)) == []


def test_the_unit_in_the_name_counts():
    joules = ("energy_gpu_joules", "energy_gpu_kwh")
    assert found("energy_unit", runs=metered([1, 2, 3, 5, 4], 1 / 3.6e6, 0, joules)) == []
    (finding,) = found("energy_unit", runs=metered([1, 2, 3, 5, 4], 0.4 / 3.6e6, 0, joules))
    assert "energy_gpu_kwh is 0.4 x energy_gpu_joules" in finding.says


@pytest.mark.parametrize(
    ("factor", "said"), [(0.9, "0.9 and 1.11 are both within"), (0.004, "is not an energy. Ratios")]
)
def test_which_one_is_wrong_is_not_claimed_where_it_cannot_be_known(factor, said):
    (finding,) = found("energy_unit", runs=metered([1, 2, 3, 5, 4], factor, 0))
    assert finding.spoils == {"energy_a_kwh", "energy_b_kwh"}
    assert said in finding.says


def test_joules_per_token_of_joules():
    runs = metered([1e3, 2e3, 3e3, 5e3, 4e3], 0.4, 0, ("energy_a_joules", "energy_b_joules"))
    runs = changed(runs, lambda figures: {"new_tokens": 7, "joules_per_token": figures["energy_b_joules"] / 7})
    (finding,) = found("energy_unit", runs=runs)
    assert "joules_per_token = energy_b_joules / new_tokens" in finding.says


def test_chains_of_computed_energies_are_told_in_order_of_their_names():
    runs = changed(metered([1, 2, 3, 5, 4], 0.3, 0), lambda each: {"energy_c_kwh": each["energy_a_kwh"] / 0.4})
    subjects = [finding.subject for finding in found("energy_unit", runs=runs)]
    assert subjects == ["energy_a_kwh", "energy_b_kwh", "energy_b_kwh"]


# constant_power


def test_published_power_that_never_changes():
    (finding,) = found("constant_power", runs=EVIDENCE.runs)
    assert (finding.model, finding.subject, finding.spoils) == (BASE, "codecarbon_cpu_kwh", frozenset())
    assert "42.4 W x window_seconds in each of 126 runs" in finding.says


def at_powers(*watts: float, seconds=(10, 20, 30, 40, 50)) -> list[Run]:
    return [
        run(seed, window_seconds=time, **{f"energy_{n}_joules": watt * time for n, watt in enumerate(watts)})
        for seed, time in enumerate(seconds)
    ]


def test_two_assumed_powers_are_not_taken_for_one_computed_energy():
    runs = at_powers(8, 20)
    assert found("energy_unit", runs=runs) == []
    assert [finding.subject for finding in found("constant_power", runs=runs)] == ["energy_0_joules", "energy_1_joules"]


def test_a_power_that_changes_or_times_that_do_not_say_nothing():
    assert found("constant_power", runs=at_powers(8, seconds=(10, 10, 11, 10, 10))) == []
    real = changed(at_powers(8), lambda each: {"energy_0_joules": each["energy_0_joules"] + 3})
    assert found("constant_power", runs=real) == []


# first_token_is_last

LATENCY = ["hellaswag_latency_b1", "ifeval_latency_b1", "mmlu_latency_b1"]


def test_published_first_tokens_that_are_last():
    findings = found("first_token_is_last", runs=EVIDENCE.runs)
    assert [(each.model, each.subject) for each in findings] == [(m, w) for m in (BASE, LARGE) for w in LATENCY]
    assert all(finding.spoils == {"ttft_ms"} for finding in findings)
    assert "of a prompt, within 2%, in each of 21 runs of 4.75 to 20 tokens per prompt" in findings[0].says
    assert "is 95 x ttft_ms, within 2%, in each of 21 runs of 434 to 1900 tokens" in findings[3].says


def test_true_first_tokens_are_sound():
    runs = changed(EVIDENCE.runs, lambda figures: {"ttft_ms": 25 + figures["generation_seconds"] / 100})
    assert found("first_token_is_last", runs=runs) == []


def test_first_tokens_are_seen_in_batches_and_from_rates():
    one = {"batch_size": 8, "measured_prompts": 16, "new_tokens": 320}
    assert "of a batch" in found("first_token_is_last", runs=[run(**one, generation_seconds=4, ttft_ms=2000)])[0].says
    assert found("first_token_is_last", runs=[run(**one, tokens_per_second=80, ttft_ms=2000)]) != []
    assert found("first_token_is_last", runs=[run(**one, generation_seconds=4, ttft_ms=300)]) == []
    mixed = [run(n, **one, generation_seconds=4, ttft_ms=ttft) for n, ttft in enumerate([2000, 300])]
    assert found("first_token_is_last", runs=mixed) == []


def test_the_only_token_is_first_and_last():
    assert (
        found("first_token_is_last", runs=[run(measured_prompts=9, new_tokens=9, generation_seconds=9, ttft_ms=1000)])
        == []
    )


def test_of_unknown_prompts_equal_lengths_say_nothing():
    runs = [run(n, new_tokens=100, generation_seconds=4 + n, ttft_ms=40 + 10 * n) for n in range(6)]
    assert found("first_token_is_last", runs=runs) == []
    assert (
        found("first_token_is_last", runs=changed(runs, lambda each: {"new_tokens": each["generation_seconds"]})) != []
    )


# unequal_lengths


def test_published_runs_of_unequal_lengths():
    findings = found("unequal_lengths", runs=EVIDENCE.runs)
    unequal = [LATENCY[0], "hellaswag_throughput_b8", *LATENCY[1:]]
    assert [(each.model, each.subject) for each in findings] == [(m, w) for m in (BASE, LARGE) for w in unequal]
    assert "new tokens per prompt differ by 281% between ratios (5.249 at 0.0, 9.498 at 0.1" in findings[0].says
    assert "new tokens per run (the number of prompts is not given) differ by 244%" in findings[4].says
    assert {"joules_per_token", "tokens_per_second", "generation_seconds", RAW, TOTAL} <= findings[0].spoils
    assert "ttft_ms" not in findings[0].spoils


def test_runs_of_fixed_length_are_sound():
    assert found("unequal_lengths", runs=changed(EVIDENCE.runs, lambda _: {"new_tokens": 1900})) == []


def test_seeds_may_differ_where_ratios_do_not():
    runs = [run(seed, ratio, new_tokens=tokens) for ratio in ("0", "0.5") for seed, tokens in enumerate([100, 130])]
    assert found("unequal_lengths", runs=runs) == []


def test_more_prompts_are_not_longer_answers():
    runs = [run(0, ratio, new_tokens=n * 20, measured_prompts=n) for ratio, n in (("0", 10), ("0.5", 20))]
    assert found("unequal_lengths", runs=runs) == []


# unaligned_width


def test_published_widths_that_are_not_aligned():
    findings = found("unaligned_width", runs=EVIDENCE.runs)
    assert [(each.model, each.subject) for each in findings] == [
        (BASE, "intermediate_size"),
        (LARGE, "intermediate_size"),
    ]
    assert "on NVIDIA L4 (7373 at 0.1, 6554 at 0.2, 5735 at 0.3, 4916 at 0.4, 3277 at 0.6)" in findings[0].says
    assert [str(ratio) for ratio in findings[0].ratios] == ["0.1", "0.2", "0.3", "0.4", "0.6"]
    assert not findings[0].spoils


@pytest.mark.parametrize("runs", [
    [dataclasses.replace(run(0, "0"), width=8192, accelerator="gpu"), dataclasses.replace(run(0, "0.5"), width=4096, accelerator="gpu")],
    [dataclasses.replace(run(0, "0"), width=8192), dataclasses.replace(run(0, "0.1"), width=7373)],
    [dataclasses.replace(run(0, "0"), width=8190, accelerator="gpu"), dataclasses.replace(run(0, "0.1"), width=7373, accelerator="gpu")],
    [dataclasses.replace(run(0, "0.1"), accelerator="gpu")],
], ids=["aligned", "on a CPU", "as unaligned before", "unknown widths"])  # fmt: skip
def test_widths_of_which_nothing_is_to_be_said(runs):
    assert found("unaligned_width", runs=runs) == []


# at_chance


def test_published_scores_at_chance():
    findings = {(each.model, each.subject): each for each in found("at_chance", scores=EVIDENCE.scores, floors=CHANCE)}
    every = findings[BASE, "truthfulqa_mc1 acc"]
    assert every.says.startswith("truthfulqa_mc1 acc: all pruned and the dense scores cannot be told from guessing")
    assert "gives 0.225 (0.2338 +- 0.029 at 0.0" in every.says
    assert len(every.ratios) == 7
    assert findings[BASE, "mmlu acc"].ratios == (Decimal("0.1"), Decimal("0.6"))
    assert findings[LARGE, "mmlu acc"].says.startswith("mmlu acc: 1 of 6 pruned scores")
    assert all(finding.spoils == frozenset() for finding in findings.values())


def test_scores_away_from_chance_or_without_a_floor_say_nothing():
    far = [dataclasses.replace(each, value=0.9, text="0.9") for each in EVIDENCE.scores]
    assert found("at_chance", scores=far, floors=CHANCE) == []
    assert found("at_chance", scores=EVIDENCE.scores) == []
    other = [dataclasses.replace(floor, null="unigram") for floor in CHANCE]
    assert found("at_chance", scores=EVIDENCE.scores, floors=other) == []


def test_chance_of_a_perplexity_is_met_in_nats():
    floor = Floor("t", "perplexity", "uniform", 1000.0, None, 100)
    assert found("at_chance", scores=[score(900.0, "perplexity", stderr=60.0)], floors=[floor]) != []
    assert found("at_chance", scores=[score(500.0, "perplexity", stderr=60.0)], floors=[floor]) == []


# missing_items


def test_published_scores_without_a_standard_error():
    findings = found("missing_items", scores=EVIDENCE.scores)
    assert [finding.model for finding in findings] == [BASE, f"{BASE}-Instruct", LARGE]
    assert findings[1].says == (
        "24 of 44 scores have no published standard error: ifeval (inst_level_loose_acc, inst_level_strict_acc), "
        "lambada_openai (perplexity), mmlu (acc), truthfulqa_mc1 (acc), truthfulqa_mc2 (acc)"
    )


def test_a_missing_number_of_items_is_named_and_full_rows_are_not():
    (finding,) = found("missing_items", scores=[score(0.5, items=None), score(0.5, "f1", stderr=0.01)])
    assert finding.says.endswith("1 of 2 have no number of items: t (acc)")
    assert found("missing_items", scores=[score(0.5, stderr=0.05)]) == []


# impossible_score


def test_all_published_proportions_are_possible():
    assert found("impossible_score", scores=EVIDENCE.scores) == []


@pytest.mark.parametrize("metric", ["acc", "acc_norm", "exact_match,strict-match", "prompt_level_strict_acc"])
def test_a_changed_last_digit_is_seen(metric):
    (finding,) = found("impossible_score", scores=[score(0.1517, metric, items=541, text="0.1517")])
    assert finding.says == (
        f"t {metric} at 0.0 is 0.1517: of 541 items, 82 right give 0.151571 and 83 right give 0.153420"
    )


@given(st.integers(1, 9000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(1, 6))
def test_what_right_and_wrong_items_give_is_possible(of, digits):
    items, right = of
    text = f"{right / items:.{digits}f}"
    exact, rounded = score(right / items, items=items), score(float(text), items=items, text=text)
    assert found("impossible_score", scores=[exact, rounded]) == []


@pytest.mark.parametrize(
    "spared",
    [
        score(0.1517, items=541, text="0.1517", metric="mc2"),
        score(0.1517, items=541, text="0.1517", task="truthfulqa_mc2"),
        score(0.1517, items=14042, text="0.1517"),
        score(0.1517, items=None, text="0.1517"),
        score(0.15, items=541, text="0.15"),
        score(1.7, "word_perplexity", text="1.7"),
    ],
)
def test_where_the_test_does_not_bite_it_says_nothing(spared):
    assert found("impossible_score", scores=[spared]) == []


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_proportion_outside_0_to_1_is_impossible(value):
    (finding,) = found("impossible_score", scores=[score(value)])
    assert "between 0 and 1" in finding.says


@pytest.mark.parametrize("text", ["0.12", "0.13"])
def test_halves_may_be_rounded_either_way(text):
    assert found("impossible_score", scores=[score(float(text), items=8, text=text)]) == []


def test_our_own_unrounded_scores_are_tested_in_full():
    assert found("impossible_score", scores=[score(1 / 3, items=480)]) == []
    assert found("impossible_score", scores=[score(1 / 3, items=481)]) != []


# all


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(generator: random.Random):
    scores, runs = (generator.sample(rows, len(rows)) for rows in (EVIDENCE.scores, EVIDENCE.runs))
    assert examine(scores, runs, CHANCE[::-1]) == WHOLE


WHOLE = examine(EVIDENCE.scores, EVIDENCE.runs, CHANCE)


def test_every_finding_is_one_line_of_a_registered_check():
    assert {finding.check for finding in WHOLE} <= set(CHECKS)
    assert all(name == check.name and check.finds for name, check in CHECKS.items())
    assert all(finding.says and "\n" not in finding.says for finding in WHOLE)
    assert all(set(finding.ratios) <= {run.ratio for run in EVIDENCE.runs} for finding in WHOLE)


def test_nothing_is_found_in_nothing():
    assert examine() == ()
    assert examine(runs=[run()]) == ()
    assert examine(runs=[run(n, f"0.{n}", new_tokens=0.0, energy_a_kwh=0.0, energy_b_kwh=0.0) for n in range(7)]) == ()
