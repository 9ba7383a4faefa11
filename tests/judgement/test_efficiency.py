"""Verdicts on what each arm took in each round: what a meter shows, what a model of power does not, and the odds."""

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from scipy.stats import binom

from glu_prune.efficiency.benchmark import _order
from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter
from glu_prune.efficiency.series import DENSE_LABEL, REPLICATE
from glu_prune.errors import EvaluationError, ExpectationError, NotMeasuredError
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.experiment.cell import Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.cost_record import SeriesRecord
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.record import FloorRecord
from glu_prune.experiment.store import Store
from glu_prune.judgement.cost_runs import QuestionCost, findings, runs
from glu_prune.judgement.expectation import EfficiencyCase, read
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.cost import EfficiencyClaim, judge_efficiency
from glu_prune.judgement.run_pairs import paired
from glu_prune.judgement.sources import CostEvidence
from glu_prune.models.source import locate
from glu_prune.sources.runs import RunSource
from tests.helpers.cost_series import EIGHT, LABEL, NO_METER, ONE, series, took
from tests.helpers.examples import scaled
from tests.helpers.records import record
from tests.helpers.verdicts import scored, share

HALF = Decimal("0.5")
SIMULATIONS = scaled(400)
MOST_WRONG = binom.ppf(0.999, SIMULATIONS, 0.05)
"""As many wrong verdicts as chance gives a judge who is wrong in 5 % of cases."""


def case(direction: str, figure: str = "joules_per_token", model: str = "m", **claim: object) -> EfficiencyCase:
    made = EfficiencyClaim(efficiency=figure, direction=direction, why="because", **claim)
    experiment = Experiment(model=model, ratios=("0.5",), expect=(made,))
    questions = SUITES["embedded"][made.questions] if made.questions else None
    return EfficiencyCase("f.yaml", 4, "id", experiment, made, HALF, questions)


def verdict(direction: str, *measured, figure: str = "joules_per_token", about=None, **claim):
    """As it is judged in a session; `about` are the findings, looked for unless they are given."""
    dense, pruned, twin = (
        [run for each in measured for run in runs("m", ratio, each, label)]
        for ratio, label in ((Decimal(0), DENSE_LABEL), (HALF, LABEL), (Decimal(0), REPLICATE))
    )
    known = findings("m", HALF, measured, LABEL) if about is None else about
    claimed = case(direction, figure, **claim)
    return judge_efficiency(claimed, CostEvidence(figure, paired(dense, pruned), known, paired(twin, pruned)))


def named(check: str, *measured) -> list:
    return [each for each in findings("m", HALF, measured, LABEL) if each.check == check]


SAVING = series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), took(1.0, seed=2, gpu=50))
MODELLED = series(
    took(1.0, cpu=20, ram=5), took(0.8, seed=1, cpu=20, ram=5), took(1.0, seed=2, cpu=20, ram=5), methods=NO_METER
)


def test_a_saving_that_a_meter_shows_is_confirmed():
    found = verdict("down", SAVING)
    assert (found.outcome, found.items, found.note) == ("confirmed", 8, "")
    assert found.p == 2 / 2**8
    assert math.expm1(found.delta) == pytest.approx(-0.2, abs=0.02)
    assert "over 8 pairs of runs of 1 workloads" in found.sentence


def test_a_claim_of_the_other_direction_is_refuted():
    assert verdict("up", SAVING).outcome == "refuted"


def test_rounds_of_all_workloads_are_pairs():
    many = series(took(3.0, gpu=70, seed=3), took(2.4, gpu=70, seed=4), took(3.0, gpu=70, seed=5), workload=EIGHT)
    found = verdict("down", SAVING, many)
    assert (found.outcome, found.items) == ("confirmed", 16)
    assert "over 16 pairs of runs of 2 workloads" in found.sentence


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("figure", ["joules_per_token", "net_joules_per_token", "joules_per_prompt_token"])
def test_modelled_energy_confirms_and_refutes_nothing(direction, figure):
    found = verdict(direction, MODELLED, figure=figure)
    assert (found.outcome, found.note) == ("inconclusive", "modelled_energy")
    assert "power is assumed (cpu: modelled, ram: modelled), so energy saved is time saved" in found.sentence


def test_modelled_energy_preserves_nothing():
    same = series(took(1.0, cpu=20), took(1.0, seed=1, cpu=20), took(1.0, seed=2, cpu=20), methods={"cpu": "modelled"})
    assert verdict("preserved", same, margin=0.1).outcome == "inconclusive"
    read_from_it = replace(series(took(1.0, gpu=20), took(1.0, seed=1, gpu=20), took(1.0, seed=2, gpu=20)))
    assert verdict("preserved", read_from_it, margin=0.1).outcome == "confirmed"


def test_a_saving_in_modelled_channels_counts_nothing_beside_a_meter():
    """Half the time and half the modelled energy, but as much on the GPU as before."""
    methods = {"gpu": "nvml", "cpu": "modelled"}
    dense, again = took(1.0, gpu=50, cpu=20), took(1.0, seed=2, gpu=50, cpu=20)
    found = verdict("down", series(dense, took(0.5, seed=1, gpu=100, cpu=20), again, methods=methods))
    assert (found.outcome, found.note) == ("inconclusive", "")
    assert abs(math.expm1(found.delta)) < 0.02


@pytest.mark.parametrize(("direction", "outcome"), [("down", "confirmed"), ("up", "refuted")])
def test_times_are_judged_where_energy_is_modelled(direction, outcome):
    found = verdict(direction, MODELLED, figure="time_to_last_token")
    assert (found.outcome, found.note) == (outcome, "")


@pytest.mark.parametrize("direction", ["up", "down"])
def test_what_a_copy_of_the_dense_model_does_as_well_is_no_effect(direction):
    found = verdict(direction, series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), took(0.8, seed=2, gpu=50)))
    assert found.outcome == "inconclusive"
    assert "not shown against a copy of the dense model: that is " in found.sentence
    assert found.p == 2 / 2**8


def test_a_direction_that_only_the_copy_shows_is_not_said_to_lack_the_copy():
    found = verdict("down", series(took(0.8, gpu=50), took(0.8, seed=1, gpu=50), took(1.0, seed=2, gpu=50)))
    assert found.outcome == "inconclusive"
    assert "not shown against a copy" not in found.sentence


def test_opposite_directions_against_dense_and_copy_are_inconclusive():
    found = verdict("down", series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), took(0.6, seed=2, gpu=50)))
    assert found.outcome == "inconclusive"
    assert "not shown against a copy" in found.sentence


def test_without_a_copy_the_dense_model_decides():
    claimed, pairs = case("down"), paired(runs("m", Decimal(0), SAVING, DENSE_LABEL), runs("m", HALF, SAVING, LABEL))
    assert judge_efficiency(claimed, CostEvidence("joules_per_token", pairs, ())).outcome == "confirmed"


def steady(rng) -> dict[str, list[float]]:
    return {label: np.exp(0.05 * rng.standard_normal(8)).tolist() for label in (DENSE_LABEL, LABEL, REPLICATE)}


def heavy_tailed(rng) -> dict[str, list[float]]:
    """Student's t with 2 degrees of freedom: now and then a round takes many times as long."""
    return {
        label: np.exp(np.clip(0.05 * rng.standard_t(2, 8), -3, 3)).tolist() for label in (DENSE_LABEL, LABEL, REPLICATE)
    }


def drifting(rng) -> dict[str, list[float]]:
    """Every turn takes 1 % longer than the one before, whoever has it."""
    labels, found, turns = (DENSE_LABEL, LABEL, REPLICATE), {DENSE_LABEL: [], LABEL: [], REPLICATE: []}, 0
    for number in range(8):
        for label in _order(labels, number):
            found[label].append(math.exp(0.01 * turns + 0.002 * rng.standard_normal()))
            turns += 1
    return found


def copies_are_faster(rng) -> dict[str, list[float]]:
    """What was loaded from a file is 10 % slower than what was copied, pruned or not."""
    found = steady(rng)
    return found | {DENSE_LABEL: [1.1 * each for each in found[DENSE_LABEL]]}


@pytest.mark.parametrize("noise", [steady, heavy_tailed, drifting, copies_are_faster])
def test_a_dense_model_is_rarely_told_apart_from_itself(noise):
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(SIMULATIONS):
        arms = {label: [(seconds, {"gpu": 50 * seconds}) for seconds in all_] for label, all_ in noise(rng).items()}
        measured = series(arms[DENSE_LABEL], arms[LABEL], arms[REPLICATE])
        wrong += verdict("down", measured, about=()).outcome != "inconclusive"
    assert wrong <= MOST_WRONG


def test_drift_falls_on_all_arms_alike():
    """Without a copy to be compared with, the order of the turns alone must see to it."""
    rng = np.random.default_rng(8)
    wrong = 0
    for _ in range(SIMULATIONS // 4):
        arms = {label: [(seconds, {"gpu": 50 * seconds}) for seconds in all_] for label, all_ in drifting(rng).items()}
        measured = series(arms[DENSE_LABEL], arms[LABEL])
        pairs = paired(runs("m", Decimal(0), measured, DENSE_LABEL), runs("m", HALF, measured, LABEL))
        wrong += judge_efficiency(case("down"), CostEvidence("joules_per_token", pairs, ())).outcome != "inconclusive"
    assert wrong <= binom.ppf(0.999, SIMULATIONS // 4, 0.05)


@pytest.mark.parametrize(("direction", "claim"), [("up", {}), ("down", {}), ("preserved", {"margin": 0.05})])
@pytest.mark.parametrize("figure", ["joules_per_token", "time_to_last_token", "peak_memory"])
def test_identical_numbers_confirm_nothing(direction, claim, figure):
    same = took(1.0, gpu=50)
    measured = series(same, same, same, held=([5_000_000] * 4,) * 2)
    assert verdict(direction, measured, figure=figure, **claim).outcome == "inconclusive"


def test_every_process_counts_where_there_are_more_of_them_than_rounds():
    dense, pruned = ([size + step for step in range(9)] for size in (5_000_000, 4_000_000))
    measured = series(took(1.0, rounds=2, gpu=50), took(1.0, rounds=2, seed=1, gpu=50), held=(dense, pruned))
    found = verdict("down", measured, figure="peak_memory")
    assert (found.outcome, found.items) == ("confirmed", 9)
    assert verdict("down", measured, figure="time_to_last_token").items == 2


def test_net_energy_below_zero_has_no_ratio_and_says_so():
    idling = series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), idle=60.0)
    with pytest.raises(
        EvaluationError, match=r"net_joules_per_token is not above zero in 8 of 8 pairs.*claim the e"
    ) as one:
        verdict("down", idling, figure="net_joules_per_token")
    assert "\n" not in str(one.value)
    assert verdict("down", idling).outcome == "confirmed"


@pytest.mark.parametrize(
    ("sizes", "seconds", "found"),
    [
        ((100, 60), 1.0, True),
        ((100, 60), 1.2, True),
        ((100, 60), 0.8, False),
        ((100, 100), 1.0, False),
        ((100, 120), 1.2, False),
    ],
)
def test_who_lost_bytes_and_is_not_shown_to_be_faster_is_named(sizes, seconds, found):
    measured = series(took(1.0, gpu=50), took(seconds, seed=1, gpu=50), sizes=sizes)
    assert bool(named("smaller_not_faster", measured)) is found


def test_the_smaller_and_not_faster_is_named_with_its_numbers():
    (finding,) = named("smaller_not_faster", series(took(1.0, gpu=50), took(1.2, seed=1, gpu=50)))
    assert (finding.subject, finding.ratios, finding.spoils) == ("p64_n32_b1 ppm-0.5", (HALF,), frozenset())
    assert "ppm-0.5 has 40% fewer bytes, and is not shown to be faster in p64_n32_b1" in finding.says
    assert "changed by +1" in finding.says or "changed by +2" in finding.says


def test_few_rounds_are_no_reason_to_say_that_nothing_is_faster():
    few = series(took(1.0, rounds=3, gpu=50), took(0.6, seed=1, rounds=3, gpu=50))
    assert named("smaller_not_faster", few) == []


def test_windows_that_are_too_short_for_the_counter_leave_energy_open():
    brief = {"seconds": 0.005, "gpu": 50}
    short = series(took(**brief), took(0.004, seed=1, gpu=50))
    (finding,) = named("short_windows", short)
    assert "48 of 48 windows are shorter than the 3 s that energy counters need" in finding.says
    assert verdict("down", short).outcome == "inconclusive"
    assert named("short_windows", SAVING) == []
    modelled = series(took(0.005, cpu=50), took(0.004, seed=1, cpu=50), methods={"cpu": "modelled"})
    assert named("short_windows", modelled) == []


def test_windows_in_which_other_processes_worked_are_named():
    dense, *turns = SAVING.arms[DENSE_LABEL].turns
    beside = replace(dense, generation=replace(dense.generation, other_load=0.43))
    arms = {**SAVING.arms, DENSE_LABEL: replace(SAVING.arms[DENSE_LABEL], turns=(beside, *turns))}
    (finding,) = named("busy_machine", replace(SAVING, arms=arms))
    assert "more than 10% of this machine's processors in 1 of 48 windows, and up to 43%" in finding.says
    assert named("busy_machine", SAVING) == []


def test_a_benchmark_in_name_only_is_named():
    named_after = replace(ONE, benchmark="ifeval")
    drawn_ones = series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), workload=named_after)
    (finding,) = named("drawn_prompts", drawn_ones)
    assert "were tokens drawn at random, 64 tokens each" in finding.says
    assert named("drawn_prompts", replace(drawn_ones, prompts="541 prompts of ifeval")) == []
    assert named("drawn_prompts", SAVING) == []


def test_idle_power_above_load_is_found_on_channels_that_were_read():
    (finding,) = named("idle_above_load", series(took(1.0, gpu=50), took(0.8, seed=1, gpu=50), idle=60.0))
    assert "gpu took more power idle than at work in 24 of 24 windows" in finding.says
    assert named("idle_above_load", SAVING) == []
    modelled = series(took(1.0, cpu=20), took(0.8, seed=1, cpu=20), methods={"cpu": "modelled"}, idle=60.0)
    assert named("idle_above_load", modelled) == []


def test_net_energy_is_inconclusive_where_a_channel_idled_above_load():
    """The GPU works; the CPU took more while idle power was measured, so that what is subtracted is too much."""
    methods = {"gpu": "nvml", "cpu": "rapl"}
    dense, again = took(1.0, gpu=500, cpu=50), took(1.0, seed=2, gpu=500, cpu=50)
    measured = series(dense, took(0.8, seed=1, gpu=500, cpu=50), again, methods=methods, idle=60.0)
    for direction in ("up", "down"):
        found = verdict(direction, measured, figure="net_joules_per_token")
        assert (found.outcome, found.note) == ("inconclusive", "idle_above_load")
    assert verdict("down", measured).outcome == "confirmed"


def test_assumed_powers_are_not_taken_for_a_wrong_unit():
    """Two powers that are assumed, times the same seconds, keep one ratio: that is known, and no mistake of units."""
    exact = [[(seconds, {"cpu": 20 * seconds, "ram": 5 * seconds}) for seconds, _ in took(1.0, seed=n)] for n in (0, 1)]
    assert named("energy_unit", series(exact[0], exact[1], methods=NO_METER)) == []


SKILL = Capability("skill", "t", "acc", "a skill")


def answered(right: int, *, positions: int = 6000, scored_positions: int | None = None):
    """A hundred questions of 60 tokens, the first `right` of which are answered right."""
    items = tuple(map(str, range(100)))
    work = {"positions": positions, "scored_positions": scored_positions or positions}
    return record(items=items, outputs=items, metrics={"acc": scored(share(right))}, **work)


def per_answer(questions_cost: QuestionCost, measured, direction: str = "up"):
    dense, pruned = (runs("m", ratio, measured, which) for ratio, which in ((Decimal(0), DENSE_LABEL), (HALF, LABEL)))
    claimed = case(direction, "joules_per_correct_answer", questions="factual_knowledge")
    pairs = questions_cost.add(paired(dense, pruned))
    ratio = questions_cost.log_accuracy_ratio
    evidence = CostEvidence("joules_per_correct_answer", pairs, (), log_accuracy_ratio=ratio)
    return judge_efficiency(claimed, evidence)


def test_half_the_right_answers_cost_twice_the_energy():
    """80 of 100 right take 60 tokens / 0.8 each; the terms of the error are 1.25, -1.25 and 0 for 40, 40 and 20."""
    same = series([(1.0, {"gpu": 128.0})] * 8, [(1.0, {"gpu": 128.0})] * 8)
    found = per_answer(QuestionCost.of(SKILL, answered(80), answered(40)), same)
    assert found.dense == pytest.approx(0.1 * 128 / 128 * 60 / 0.8)
    assert found.pruned == pytest.approx(2 * found.dense)
    error = math.sqrt(80 * 1.25**2 / 99) / 10
    assert (found.low, found.high) == pytest.approx((math.log(2) - 1.96 * error, math.log(2) + 1.96 * error), rel=1e-4)
    assert found.outcome == "confirmed"


def test_the_error_of_the_accuracies_widens_the_interval():
    known = per_answer(QuestionCost(60, 0.8, (math.log(0.5), 1e-9)), SAVING)
    unsure = per_answer(QuestionCost(60, 0.8, (math.log(0.5), 0.3)), SAVING)
    assert known.delta == pytest.approx(unsure.delta) == pytest.approx(math.log(0.8 / 0.5), abs=0.02)
    assert unsure.high - unsure.low > 10 * (known.high - known.low)
    assert (known.outcome, unsure.outcome) == ("confirmed", "inconclusive")


def test_as_many_right_answers_leave_the_energy_as_it_is():
    questions_cost = QuestionCost.of(SKILL, answered(80), answered(80))
    assert questions_cost.log_accuracy_ratio == (0.0, 0.0)
    assert per_answer(questions_cost, SAVING, "down").outcome == "confirmed"


@pytest.mark.parametrize("arms", [(80, 0), (0, 80)])
def test_no_right_answer_has_no_cost(arms):
    with pytest.raises(EvaluationError, match="an arm answers no question of skill right") as caught:
        QuestionCost.of(SKILL, *map(answered, arms))
    assert "\n" not in str(caught.value)


def test_generated_answers_have_no_defined_cost():
    generated = answered(80, scored_positions=10)
    for arms in ((generated, answered(80)), (answered(80), generated), (generated, generated)):
        with pytest.raises(EvaluationError, match="skill is answered in words whose number differs between arms"):
            QuestionCost.of(SKILL, *arms)


def test_tokens_that_a_backend_did_not_count_have_no_cost():
    uncounted = [
        one.model_copy(update={"positions": None, "scored_positions": None}) for one in map(answered, (80, 40))
    ]
    with pytest.raises(EvaluationError, match=r"^what answered skill does not count its tokens"):
        QuestionCost.of(SKILL, *uncounted)


SETTINGS, EFFORT = Settings(), Effort()
ARMS = (Arm(), Arm("ppm", HALF))


@pytest.fixture
def store(tmp_path) -> Store:
    """With a measurement of tiny-base at 0.5 in batches of eight, and none of single prompts."""
    return filled(tmp_path / "store", again=3.0)


def filled(folder, again: float) -> Store:
    """The copy of the dense model takes `again` seconds."""
    store = Store(folder)
    arms = (took(3.0, gpu=70, seed=3), took(2.4, gpu=70, seed=4), took(again, gpu=70, seed=5))
    measured = series(*arms, workload=EIGHT)
    cell = SeriesCell(locate("tiny-base"), ARMS, EIGHT, SETTINGS, EFFORT)
    about = {
        "settings": {},
        "versions": {},
        "machine": "m",
        "created": "now",
    }
    store.put(SeriesRecord(key=cell.key, model="tiny-base", series=measured, **about))
    return store


def source(store: Store) -> RunSource:
    return RunSource(local_engine(store, NoMeter("no meter"), lambda _: None), SETTINGS, EFFORT)


def tiny(direction: str = "down", figure: str = "joules_per_token", **claim) -> EfficiencyCase:
    return case(direction, figure, "tiny-base", **claim)


@pytest.mark.parametrize("pattern", ["p64_n32_b8", "*_b8", "*8"])
def test_patterns_choose_workloads(store, pattern):
    judged = tiny(workload=pattern).judge(source(store))
    assert judged.outcome == "confirmed"
    assert {row.workload for row in judged.tables.efficiency} == {"p64_n32_b8"}


def test_measurements_are_compared_with_the_replicate_too(tmp_path):
    judged = tiny(workload="*_b8").judge(source(filled(tmp_path, again=2.4)))
    assert judged.outcome == "inconclusive"
    assert "not shown against a copy of the dense model" in judged.sentence


def test_without_a_pattern_all_workloads_are_measured(store):
    with pytest.raises(NotMeasuredError, match="no meter"):
        tiny().judge(source(store))


def test_a_workload_that_does_not_exist_is_an_error_that_lists_those_that_do(store):
    with pytest.raises(ExpectationError) as caught:
        source(store).preflight([tiny(workload="*_b4")])
    assert str(caught.value) == (
        "f.yaml:4: no workload of suite embedded is called '*_b4'; there are p64_n32_b1, p64_n32_b8"
    )
    source(store).preflight([tiny(workload="*_b1"), tiny()])


def test_energy_per_right_answer_with_its_questions(store):
    """Half the right answers at 0.8 times the energy: 1.6 times as much for each."""
    knowledge = SUITES["embedded"]["factual_knowledge"]
    task = (knowledge.task, knowledge.num_fewshot)
    for arm, right in zip(ARMS, (80, 40), strict=True):
        cell = Cell(locate("tiny-base"), arm, *task, knowledge.fields, SETTINGS)
        fields = {"band": (("head",),) * 100}
        store.put(answered(right).model_copy(update={"key": cell.key, "arm": arm.label, "fields": fields}))
    nulls = {"uniform": {"acc": scored(share(25))}}
    items = answered(0).items
    key = FloorCell(*task).key
    store.put(FloorRecord(key=key, task=knowledge.task, versions={}, created="now", items=items, nulls=nulls))
    claimed = {"questions": "factual_knowledge", "workload": "*_b8"}
    judged = tiny("up", "joules_per_correct_answer", **claimed).judge(source(store))
    assert judged.outcome == "confirmed"
    (row,) = judged.tables.costs
    assert row.percent[0] == pytest.approx(60, abs=2)
    assert row.capability == "joules_per_correct_answer of factual_knowledge in *_b8"
    assert {each.arm for each in judged.tables.cells} == {"dense", "ppm-0.5"}
    assert tiny("down", "joules_per_prompt_token", workload="*_b8").judge(source(store)).outcome == "confirmed"


FILE = """\
model: tiny-base
ratios: [0.5]
expect:
  - efficiency: joules_per_correct_answer
    questions: factual_knowledge
    direction: up
    workload: "*_b8"
    why: what each token saves, wrong answers cost
"""


def test_questions_are_read(tmp_path):
    (tmp_path / "f.yaml").write_text(FILE)
    (found,) = read(tmp_path / "f.yaml")
    assert found.id == "tiny-base-ratio_0.5-joules_per_correct_answer-factual_knowledge-*_b8"
    assert (found.claim.questions, found.claim.workload) == ("factual_knowledge", "*_b8")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    questions: factual_knowledge\n", "", r"f.yaml:4: expect.0: joules_per_correct_answer needs questions: CAPABILITY"),
        ("joules_per_correct_answer", "joules_per_token", r"f.yaml:4: expect.0: joules_per_token takes no questions: CAPABILITY"),
        ("factual_knowledge", "factual_knowlege", r"f.yaml:5: capability 'factual_knowlege' does not exist; did you mean 'factual_knowledge'\?"),
        ("factual_knowledge", "story_modelling", r"f.yaml:5: capability story_modelling is no share of right answers"),
        ("joules_per_correct_answer", "joules", r"f.yaml:4: expect.0.efficiency: measure 'joules' does not exist; there are time_to_first_token, .*joules_per_correct_answer"),
    ],
)  # fmt: skip
def test_mistakes_about_questions_are_one_line(tmp_path, old, new, complaint):
    (tmp_path / "f.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(ExpectationError, match=complaint) as caught:
        read(tmp_path / "f.yaml")
    assert "\n" not in str(caught.value)


def test_a_capability_of_another_kind_lists_those_that_exist(tmp_path):
    (tmp_path / "f.yaml").write_text(FILE.replace("factual_knowledge", "telepathy"))
    with pytest.raises(ExpectationError, match=r"f.yaml:5: capability 'telepathy' does not exist.*factual_knowledge"):
        read(tmp_path / "f.yaml")
