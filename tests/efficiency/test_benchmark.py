import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import accelerate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.efficiency import benchmark as module
from glu_prune.efficiency.benchmark import IDLE_WINDOWS, _order, measure
from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.fresh import FreshProcesses
from glu_prune.efficiency.generation import padded
from glu_prune.efficiency.idle import IdleChannel, idle_power
from glu_prune.efficiency.meter import NoMeter, Reading, ReplayMeter
from glu_prune.efficiency.series import DENSE_LABEL, REPLICATE, Series
from glu_prune.efficiency.tracking import CodeCarbonMeter
from glu_prune.efficiency.workload import Prompts, Workload, drawn
from glu_prune.errors import MeterError, ShortWindowError, WorkloadError
from glu_prune.experiment.cost_record import SeriesRecord
from glu_prune.experiment.store import Store
from glu_prune.models.source import load_model, locate
from tests.helpers import recordings
from tests.helpers.models import llama
from tests.helpers.recordings import raw, series, turn

VOCABULARY, POSITIONS = 32, 16
"""Of `llama`."""
HALF = "half"
QUICK = Effort(rounds=2, seconds=0.1, processes=0)
WORKLOAD = drawn(4, 3, 2)
TEXT = Prompts(
    Workload("text", 2, 6, 3, "ifeval", seeds=(7, 8)), VOCABULARY, ("ab", "abcd", "hello world", "xyz"), lambda text: [ord(each) % VOCABULARY for each in text]
)  # fmt: skip
MODELLED = {"cpu": "modelled", "ram": "modelled"}
"""Methods whose windows are short."""


def models() -> dict:
    return {DENSE_LABEL: llama(width=12), HALF: llama(width=6), REPLICATE: llama(width=12)}


def measured(scratch: Path, meter=None, arms=None, **changed) -> Series:
    """By default of drawn prompts, in time alone, without memory."""
    usual = {
        "prompts": Prompts(WORKLOAD, VOCABULARY),
        "effort": QUICK,
        "processes": FreshProcesses(),
        "progress": lambda *_: None,
    }
    return measure(arms or models(), meter=meter or NoMeter("because"), scratch=scratch, **{**usual, **changed})


def numbered(count: int) -> list:
    """Windows that can be told apart."""
    return [raw(10.0 + number, joules={"cpu": 1.0 + number}, methods=MODELLED) for number in range(count)]


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a batch takes, for prompts alone and in all, arm by arm; and recorded windows need not be waited for."""
    given = iter([(0.05, 0.04), (0.025, 0.09), (0.06, 0.08)])
    monkeypatch.setattr(module, "_pace", lambda *_: next(given))
    monkeypatch.setattr(module, "idle_power", partial(idle_power, wait=lambda _: None))


real = pytest.mark.slow("measures three models, with memory in processes that import all libraries")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, processes: FreshProcesses) -> tuple[Series, list, list]:
    """A measurement with all its parts, what it told, and what it left in its folder."""
    scratch, told = tmp_path_factory.mktemp("whole") / "scratch", []
    found = measured(
        scratch,
        CodeCarbonMeter(),
        effort=Effort(rounds=2, seconds=0.25, processes=2),
        processes=processes,
        progress=lambda *step: told.append(step),
    )
    return found, told, [*scratch.iterdir()]


@real
def test_everything_is_measured_of_every_arm(whole):
    found, _, _ = whole
    assert list(found.arms) == [DENSE_LABEL, HALF, REPLICATE]
    assert (found.workload, found.prompts, found.clock) == (WORKLOAD, "tokens drawn at random", "host clock")
    assert found.idle.windows == IDLE_WINDOWS
    for label, arm in found.arms.items():
        assert arm.label == label
        assert len(arm.turns) == 2
        for phase in phases(arm):
            assert {name: each.method for name, each in phase.readings.items()} == {
                name: each.method for name, each in found.idle.channels.items()
            }
            assert phase.readings["ram"].joules > 0
            assert phase.emissions.grid == "USA"
            assert phase.note == ""


@real
def test_times_of_batches_are_within_their_window(whole):
    for arm in whole[0].arms.values():
        for each in arm.turns:
            assert len(each.first_token) == len(each.last_token) == each.generation.batches
            assert all(0 < first < last for first, last in zip(each.first_token, each.last_token, strict=True))
            assert sum(each.last_token) < each.generation.seconds


@real
def test_all_arms_but_the_replicate_have_footprints(whole):
    found, _, left = whole
    assert {label: len(arm.footprints) for label, arm in found.arms.items()} == {DENSE_LABEL: 2, HALF: 2, REPLICATE: 0}
    for each in (*found.arms[DENSE_LABEL].footprints, *found.arms[HALF].footprints):
        assert isinstance(each, Footprint)
        assert 0 < each.resident <= each.peak
    assert left == []


def test_memory_is_measured_as_the_model_is_run(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "footprints", lambda *how, **more: asked.append((how[1], more)) or [])
    spread = {"model": "cpu", "lm_head": "cpu"}
    for dtype, attention, device_map in (("float32", "sdpa", ""), ("bfloat16", "eager", spread)):
        model = load_model(locate("tiny-base"), dtype, "cpu", attention=attention)
        model = accelerate.dispatch_model(model, device_map) if device_map else model
        assert list(module._footprints("m", model, ((1,),), 1, Effort(), None, tmp_path)) == []
    assert asked == [
        ("float32", {"attention": "sdpa", "device_map": ""}), ("bfloat16", {"attention": "eager", "device_map": spread}),
    ]  # fmt: skip


@real
def test_progress_is_told_round_by_round(whole):
    assert whole[1] == [("memory", 0, 2), ("measuring", 1, 2), ("measuring", 2, 2)]


@real
def test_parameters_are_counted_in_bytes(whole):
    sizes = {label: arm.parameter_bytes for label, arm in whole[0].arms.items()}
    assert sizes[DENSE_LABEL] == sizes[REPLICATE] == 4 * sum(each.numel() for each in llama(width=12).parameters())
    assert sizes[DENSE_LABEL] - sizes[HALF] == 4 * 2 * 3 * 6 * 8


def phases(arm) -> list:
    return [phase for each in arm.turns for phase in (each.prefill, each.generation)]


def test_every_arm_does_the_same_work_on_the_same_prompts(tmp_path, known):
    arms, seen = models(), {}
    for label, model in arms.items():
        model.register_forward_pre_hook(noting(seen.setdefault(label, [])), with_kwargs=True)
    found = measured(tmp_path, arms=arms, prompts=TEXT, effort=replace(QUICK, rounds=3))
    work = {
        label: [(each.batches, each.prompt_tokens, each.new_tokens) for each in phases(arm)]
        for label, arm in found.arms.items()
    }
    assert work[DENSE_LABEL] == work[HALF] == work[REPLICATE]
    assert len(set(work[DENSE_LABEL])) > 2  # prompts differ in length
    asked = [
        each
        for number in range(3)
        for count in found_counts(found, number)
        for each in itertools.islice(TEXT.batches(number), count)
    ]
    expected = [padded(batch, "cpu").input_ids.tolist() for batch in asked]
    assert all(prompts == expected for prompts in seen.values())


def noting(seen: list) -> Callable:
    def note(model, positional, options):
        if (ids := options["input_ids"]).shape[1] > 1:
            seen.append(ids.tolist())

    return note


def found_counts(found: Series, number: int) -> tuple[int, int]:
    each = found.arms[DENSE_LABEL].turns[number]
    return each.prefill.batches, each.generation.batches


def test_tokens_are_counted_without_padding(tmp_path, known):
    (arm,) = measured(tmp_path, arms={DENSE_LABEL: llama()}, prompts=TEXT).arms.values()
    for number, each in enumerate(arm.turns):
        for phase, new_tokens in ((each.prefill, 1), (each.generation, 3)):
            batches = [*itertools.islice(TEXT.batches(number), phase.batches)]
            assert phase.prompt_tokens == sum(len(row) for batch in batches for row in batch)
            assert phase.new_tokens == phase.batches * 2 * new_tokens


def test_batches_fill_a_window_of_the_fastest_arm(tmp_path, known):
    found = measured(tmp_path)
    assert found_counts(found, 0) == (4, 3)


def test_after_a_window_that_was_too_short_there_are_more_batches():
    short, long = (
        SimpleNamespace(prefill=recordings.phase(0.1), generation=recordings.phase(each)) for each in (0.5, 0.19)
    )
    counts = module._Counts(prefill=4, generation=3)
    assert counts.for_windows_of(0.25, [short, long]) == module._Counts(prefill=10, generation=4)
    assert counts.for_windows_of(0.22, [short, long]).generation == 3
    assert counts.for_windows_of(0.1, [short, long]) == counts


@given(st.floats(0.1, 10), st.floats(0.001, 10))
def test_batches_fill_a_window_but_for_a_fifth_of_one(window, pace):
    count = module._filling(window, pace)
    assert count * pace >= window - 0.21 * pace
    assert count * pace >= 0.8 * window
    assert count == 1 or (count - 1) * pace < window


def test_a_round_with_a_window_too_short_to_be_metered_begins_anew_with_more_batches(tmp_path, known):
    windows = numbered(5 + 2 + 3 * 4)
    windows[6] = raw(0.01, methods=MODELLED)
    found = measured(tmp_path, ReplayMeter(windows))
    assert found_counts(found, 0) == found_counts(found, 1) == (8, 6)
    assert [arm.turns[0].prefill.seconds for arm in found.arms.values()] == [17.0, 19.0, 21.0]


def test_a_clock_that_never_shows_enough_ends_in_an_error(tmp_path, known):
    windows = [*numbered(5), *[raw(0.01, methods=MODELLED)] * 100]
    with pytest.raises(ShortWindowError, match="too short to be measured"):
        measured(tmp_path, ReplayMeter(windows), arms={DENSE_LABEL: llama()})


@pytest.mark.parametrize(
    ("taken", "window", "fastest"),
    [
        ((9.0, 0.02, 0.01, 0.23, 0.001), 0.25, 0.01),
        ((9.0, 0.02, 0.01, 0.23, 0.001), 3.0, 0.01),
        ((9.0, 0.3, 0.2, 0.1, 0.01), 3.0, 0.1),
        ((9.0, 0.3, 0.2, 0.1, 0.01), 0.25, 0.3),
        ((0.1, 3.0, 0.1), 3.0, 3.0),
    ],
)
def test_the_pace_is_that_of_the_fastest_batch_after_the_first_of_enough(monkeypatch, taken, window, fastest):
    """One that was held up would make windows too short to be metered."""
    left = iter(taken)
    monkeypatch.setattr(module, "_timed", lambda *_: next(left))
    assert module._fastest(None, [None, None], 1, window) == fastest


@pytest.mark.parametrize(
    ("seconds", "idle", "counts"), [(None, 0.25, (10, 7)), (0.1, 0.25, (4, 3)), (0.3, 0.3, (12, 8))]
)
def test_windows_are_as_long_as_asked_or_as_meters_need_and_idle_ones_never_shorter(
    tmp_path, known, seconds, idle, counts
):
    found = measured(tmp_path, ReplayMeter(numbered(17)), effort=replace(QUICK, seconds=seconds))
    assert found.idle.seconds == idle
    assert found_counts(found, 0) == counts


def test_without_a_meter_windows_have_a_length_of_their_own_and_a_note(tmp_path, known):
    found = measured(tmp_path, effort=replace(QUICK, seconds=None))
    assert found_counts(found, 0) == (10, 7)
    assert found.idle.channels == {}
    for phase in phases(found.arms[HALF]):
        assert (phase.readings, phase.emissions, phase.note) == ({}, None, "because")


def test_windows_are_idle_first_then_of_each_turn_in_order(tmp_path, known):
    windows = numbered(5 + 2 * 3 * 4)
    found = measured(tmp_path, ReplayMeter(windows), effort=replace(QUICK, rounds=4))
    powers = [(1 + number) / (10 + number) for number in range(5)]
    assert found.idle.channels["cpu"].watts == pytest.approx(math.fsum(powers) / 5)
    orders = [
        (DENSE_LABEL, HALF, REPLICATE),
        (REPLICATE, HALF, DENSE_LABEL),
        (HALF, REPLICATE, DENSE_LABEL),
        (DENSE_LABEL, REPLICATE, HALF),
    ]
    left = iter(windows[5:])
    for number, order in enumerate(orders):
        for label in order:
            each = found.arms[label].turns[number]
            for phase in (each.prefill, each.generation):
                expected = next(left)
                assert phase.seconds == expected.seconds
                assert phase.readings["cpu"].joules == pytest.approx(expected.seconds - 9)
                assert phase.emissions.kilograms == expected.kilograms
    assert next(left, None) is None


arms = st.integers(1, 9)


@given(arms, st.integers(0, 20).map(lambda number: 2 * number))
def test_every_arm_is_equally_often_in_every_place(count, start):
    labels = tuple(map(str, range(count)))
    rounds = [tuple(_order(labels, number)) for number in range(start, start + 2 * count)]
    for place in zip(*rounds, strict=True):
        assert Counter(place) == dict.fromkeys(labels, 2)


@given(arms, st.integers(0, 20).map(lambda number: 2 * number))
def test_of_two_rounds_every_arm_is_before_every_other_in_one(count, start):
    labels = tuple(map(str, range(count)))
    one, two = (tuple(_order(labels, number)) for number in (start, start + 1))
    for left, right in itertools.combinations(labels, 2):
        assert (one.index(left) < one.index(right)) != (two.index(left) < two.index(right))


def test_what_is_too_long_for_any_arm_is_refused_before_anything_runs(tmp_path):
    roomy = llama()
    roomy.config.max_position_embeddings = 100
    arms = {DENSE_LABEL: roomy, HALF: llama(width=6)}
    for model in arms.values():
        model.register_forward_pre_hook(lambda *_: pytest.fail("ran"))
    with pytest.raises(WorkloadError, match=r"^half holds 16 positions; workload p13_n4_b1 needs 13 prompt tokens"):
        measured(
            tmp_path,
            ReplayMeter([]),
            arms,
            prompts=Prompts(drawn(13, 4, 1), VOCABULARY),
            progress=lambda *_: pytest.fail("began"),
        )


def test_all_positions_can_be_used(tmp_path, known):
    found = measured(tmp_path, arms={DENSE_LABEL: llama()}, prompts=Prompts(drawn(12, 4, 1), VOCABULARY))
    assert found.arms[DENSE_LABEL].turns[0].generation.new_tokens > 0


@pytest.mark.parametrize(
    "numbers",
    [{"rounds": 1}, {"rounds": 0}, {"processes": -1}, *({"seconds": each} for each in (0.0, 0.09, -1.0, math.nan, math.inf))],
)  # fmt: skip
def test_an_effort_that_measures_nothing_is_refused(numbers):
    (found,) = numbers.values()
    with pytest.raises(WorkloadError, match=rf"at least .*; found {found}$"):
        Effort(**numbers)


def test_the_least_effort_is_allowed():
    assert Effort(rounds=2, seconds=0.1, processes=0) == QUICK


def test_without_processes_no_memory_is_measured_and_nothing_saved(tmp_path, known):
    scratch = tmp_path / "scratch"
    found = measured(scratch)
    assert [arm.footprints for arm in found.arms.values()] == [(), (), ()]
    assert not scratch.exists()


@pytest.mark.parametrize("bad", [raw(methods=MODELLED, joules={"cpu": 0.0}), None])
def test_a_bad_window_at_work_passes_through_and_leaves_nothing(tmp_path, known, processes, bad):
    windows = numbered(9) if bad is None else [*numbered(9), bad, *numbered(9)]
    with pytest.raises(MeterError, match=r"the recording ends after 9 windows|0\.0 kWh on channel cpu"):
        measured(tmp_path, ReplayMeter(windows), effort=replace(QUICK, processes=1), processes=processes)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("methods", [{"ram": "modelled"}, {"cpu": "rapl", "ram": "modelled"}])
def test_windows_that_are_metered_in_another_way_are_refused(tmp_path, known, methods):
    windows = [*numbered(8), raw(methods=methods), *numbered(9)]
    with pytest.raises(MeterError, match=r"while idle and by .* at work; measure it again"):
        measured(tmp_path, ReplayMeter(windows))


def test_ctrl_c_at_work_passes_through(tmp_path, known, processes):
    arms, passes = models(), itertools.count(1)

    def interrupt(*_):
        if next(passes) == 20:  # in the second of two rounds
            raise KeyboardInterrupt

    arms[HALF].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, arms=arms, effort=replace(QUICK, processes=1), processes=processes)
    assert [*tmp_path.iterdir()] == []
    assert next(passes) == 21


def test_ctrl_c_while_memory_is_measured_leaves_no_folder(tmp_path, known):
    there = []

    class Interrupted(FreshProcesses):
        def call(self, *_):
            there.extend(path.name for path in tmp_path.glob("*/*"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, effort=replace(QUICK, processes=1), processes=Interrupted())
    assert "model.safetensors" in there
    assert [*tmp_path.iterdir()] == []


def record(found: Series) -> SeriesRecord:
    return SeriesRecord(
        key="ab" * 32,
        model="tiny",
        settings={"dtype": "float32"},
        versions={"torch": "2"},
        machine="Linux",
        created="2026-01-01T00:00:00+00:00",
        series=found,
    )


def again(kept: SeriesRecord) -> SeriesRecord:
    return SeriesRecord.model_validate_json(kept.model_dump_json())


@real
def test_a_measurement_survives_json(whole):
    kept = record(whole[0])
    assert again(kept) == kept
    assert again(kept).series == whole[0]
    assert list(again(kept).series.arms) == [DENSE_LABEL, HALF, REPLICATE]
    assert again(kept).model_dump_json() == kept.model_dump_json()


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite, st.integers(0, 2**62))
def test_numbers_survive_json_to_the_last_bit(joules, seconds, held):
    energy = {"cpu": Reading(joules, "rapl")}
    footprint = Footprint(held, held, held, None, held, None, "resident set")
    each = turn(energy, energy, first_token=(seconds, -seconds, 0.1 + 0.2))
    found = series(each, idle={"cpu": IdleChannel(seconds, joules, "rapl")}, footprints=(footprint,))
    back = again(record(found)).series
    assert back == found
    assert repr(back) == repr(found)


@real
def test_a_measurement_survives_the_store(whole, tmp_path):
    kept = record(whole[0])
    Store(tmp_path).put(kept)
    assert Store(tmp_path).get(kept.key, SeriesRecord) == kept
    assert Store(tmp_path).get(kept.key, SeriesRecord).series == whole[0]


@real
def test_a_record_of_arms_that_had_fewer_turns_is_refused(whole):
    found = whole[0]
    fewer = replace(found.arms[HALF], turns=found.arms[HALF].turns[:1])
    with pytest.raises(ValueError, match="every arm must have had as many turns"):
        record(replace(found, arms={**found.arms, HALF: fewer}))


@pytest.mark.parametrize("times", [(5.0, 4.0), (5.0, 5.0)], ids=["backwards", "still"])
def test_a_clock_that_does_not_go_on_ends_in_an_error(monkeypatch, times):
    monkeypatch.setattr(module.time, "perf_counter", itertools.cycle(times).__next__)
    with pytest.raises(MeterError, match="by this machine's clock, which stands still or runs backwards"):
        module._fastest(lambda *_: None, [None, None], 1, 0.1)
