from dataclasses import replace

import pytest

from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS, channels, counted, gross, metered, net
from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.idle import IdleChannel
from glu_prune.efficiency.meter import Reading
from glu_prune.efficiency.series import DENSE_LABEL, ArmSeries
from glu_prune.efficiency.workload import drawn
from tests.helpers import ROOT
from tests.helpers.recordings import phase, series, turn

PREFILL = {"gpu": Reading(12.0, "nvml"), "cpu": Reading(3.0, "modelled"), "ram": Reading(2.0, "modelled")}
GENERATION = {"gpu": Reading(60.0, "nvml"), "cpu": Reading(30.0, "modelled"), "ram": Reading(15.0, "modelled")}
TURN = turn(PREFILL, GENERATION)
IDLE = {
    "gpu": IdleChannel(12.0, 0.1, "nvml"),
    "cpu": IdleChannel(5.0, 0.1, "modelled"),
    "ram": IdleChannel(5.0, 0.1, "modelled"),
}
ON_HOST = Footprint(1_000_000, 3_500_000, 4_250_000, None, None, None, "resident set")
ON_CUDA = Footprint(1_000_000, 3_500_000, 4_250_000, 2_000_000, 2_750_000, 9_000_000, "resident set")

EXPECTED = {
    "time_to_first_token": ("ms", 20.0),
    "time_per_output_token": ("ms", 10.0),
    "time_to_last_token": ("ms", 100.0),
    "prefill_tokens_per_second": ("tokens/s", 48.0),
    "decode_tokens_per_second": ("tokens/s", 150.0),
    "tokens_per_second": ("tokens/s", 15.0),
    "joules_per_token": ("J", 2.0),
    "net_joules_per_token": ("J", 1.2),
    "joules_per_prompt_token": ("J", 0.5),
    "resident_memory": ("MB", 3.5),
    "peak_memory": ("MB", 4.25),
}
"""Of `TURN` with the GPU counted, and `ON_HOST`."""


def values(name: str, found, label: str = DENSE_LABEL) -> list[float]:
    return COST_METRICS[name].values(found, found.arms[label])


@pytest.mark.parametrize("name", EXPECTED)
def test_every_figure_has_its_exact_value_and_unit(name):
    unit, value = EXPECTED[name]
    found = series(TURN, idle=IDLE, footprints=(ON_HOST,))
    assert values(name, found) == [pytest.approx(value, rel=1e-12)]
    assert COST_METRICS[name].unit == unit


def test_no_figure_is_left_out_here():
    assert set(COST_METRICS) - set(EXPECTED) == {CORRECT_ANSWER, "device_memory"}


def test_the_documentation_lists_every_figure_with_its_unit():
    cells = [line.split("|")[1:3] for line in (ROOT / "docs/efficiency.md").read_text().splitlines() if "| `" in line]
    listed = [(name.strip(" `"), unit.strip()) for names, unit in cells for name in names.split(",")]
    assert [each for each in listed if each[0] in COST_METRICS] == [
        (each.name, each.unit) for each in COST_METRICS.values()
    ]


def test_there_is_a_value_per_round_in_their_order():
    slow = replace(TURN, first_token=(0.5, 0.5, 0.5), last_token=(2.5, 2.5, 2.5))
    found = series(TURN, slow, TURN)
    assert values("time_to_first_token", found) == pytest.approx([20.0, 500.0, 20.0])
    assert values("time_per_output_token", found) == pytest.approx([10.0, 500.0, 10.0])


def test_arms_have_figures_of_their_own():
    found = series(TURN)
    slow = replace(TURN, generation=replace(TURN.generation, seconds=4.0))
    both = replace(found, arms={**found.arms, "other": ArmSeries("other", 500, 64, (slow, slow))})
    assert values("tokens_per_second", both) == pytest.approx([15.0])
    assert values("tokens_per_second", both, "other") == pytest.approx([7.5, 7.5])


def test_one_new_token_takes_no_time_after_the_first():
    same = replace(TURN, last_token=TURN.first_token)
    found = series(same, same, workload=drawn(4, 1, 2))
    assert values("time_per_output_token", found) == values("decode_tokens_per_second", found) == []
    assert values("time_to_last_token", found) == values("time_to_first_token", found) == pytest.approx([20.0] * 2)


def test_two_new_tokens_have_one_step():
    assert values("time_per_output_token", series(TURN, workload=drawn(4, 2, 2))) == pytest.approx([40.0])


def test_what_is_modelled_is_not_counted_beside_what_is_measured():
    found = series(TURN)
    assert channels(found) == {"gpu": "nvml", "cpu": "modelled", "ram": "modelled"}
    assert counted(found) == {"gpu": "nvml"}


@pytest.mark.parametrize("method", ["nvml", "rapl", "counter", "sampled"])
def test_all_measured_channels_are_counted(method):
    energy = {"gpu": Reading(60.0, "nvml"), "cpu": Reading(30.0, method), "ram": Reading(15.0, "modelled")}
    found = series(turn(energy, energy))
    assert counted(found) == {"gpu": "nvml", "cpu": method}
    assert values("joules_per_token", found) == pytest.approx([3.0])
    assert values("joules_per_prompt_token", found) == pytest.approx([90 / 24])


def test_all_that_is_modelled_is_counted_where_nothing_is_measured():
    energy = {"cpu": Reading(30.0, "modelled"), "ram": Reading(15.0, "modelled")}
    found = series(turn(energy, energy), idle=IDLE)
    assert counted(found) == {"cpu": "modelled", "ram": "modelled"}
    assert values("joules_per_token", found) == pytest.approx([1.5])
    assert values("net_joules_per_token", found) == pytest.approx([25 / 30])


def test_without_a_meter_there_is_time_and_no_energy():
    found = series(turn({}, {}))
    assert counted(found) == {}
    assert values("joules_per_token", found) == values("net_joules_per_token", found) == []
    assert values("joules_per_prompt_token", found) == []
    assert values("tokens_per_second", found) == pytest.approx([15.0])


def test_a_channel_that_is_missing_in_one_round_leaves_no_round_to_compare():
    both = {"gpu": Reading(60.0, "nvml"), "cpu": Reading(30.0, "rapl")}
    gpu = {"gpu": both["gpu"]}
    found = series(turn(both, both), turn(gpu, gpu))
    assert counted(found) == {"gpu": "nvml", "cpu": "rapl"}
    assert values("joules_per_token", found) == []
    assert values("joules_per_prompt_token", found) == []


def test_an_idle_gpu_is_not_what_computes():
    energy = {"gpu": Reading(60.0, "nvml"), "cpu": Reading(30.0, "modelled")}
    on_cpu = series(turn(energy, energy), device="cpu")
    assert (metered(on_cpu), counted(on_cpu)) == (False, {"cpu": "modelled"})
    assert metered(series(turn(energy, energy)))


def test_energy_is_not_known_if_one_channel_is_not():
    window = phase(2.0, gpu=Reading(60.0, "nvml"), cpu=Reading(30.0, "rapl"))
    assert gross(window, ("gpu", "cpu")) == pytest.approx(90.0)
    assert gross(window, ("gpu", "cpu", "ram")) is None
    assert gross(window, ()) is None


def test_net_energy_is_what_idling_in_that_time_does_not_take():
    found = series(TURN, idle=IDLE)
    assert net(found, phase(2.0, gpu=Reading(60.0, "nvml")), ("gpu",)) == pytest.approx(36.0)
    assert net(found, phase(4.0, gpu=Reading(60.0, "nvml")), ("gpu",)) == pytest.approx(12.0)


def test_negative_net_energy_is_kept():
    idle = {"gpu": IdleChannel(40.0, 0.1, "nvml")}
    assert values("net_joules_per_token", series(TURN, idle=idle)) == pytest.approx([-20 / 30])


@pytest.mark.parametrize(
    "idle", [{}, {"gpu": IDLE["gpu"]}, {"gpu": IDLE["gpu"], "cpu": IdleChannel(5.0, 0.1, "sampled")}]
)
def test_net_energy_is_not_known_if_the_idle_power_of_one_channel_is_not(idle):
    energy = {"gpu": Reading(60.0, "nvml"), "cpu": Reading(30.0, "rapl")}
    found = series(turn(energy, energy), idle=idle)
    assert net(found, found.arms[DENSE_LABEL].turns[0].generation, ("gpu", "cpu")) is None
    assert values("net_joules_per_token", found) == []
    assert values("joules_per_token", found) == pytest.approx([3.0])


def test_net_energy_is_not_known_if_the_window_lacks_a_channel():
    assert net(series(TURN, idle=IDLE), phase(2.0, gpu=Reading(60.0, "nvml")), ("gpu", "ram")) is None


def test_on_cuda_memory_is_that_of_the_device():
    found = series(TURN, footprints=(ON_CUDA, replace(ON_CUDA, device_peak=2_800_000)))
    assert values("resident_memory", found) == pytest.approx([2.0, 2.0])
    assert values("peak_memory", found) == pytest.approx([2.75, 2.8])
    assert values("device_memory", found) == pytest.approx([9.0, 9.0])


def test_a_device_that_holds_nothing_is_not_the_host():
    found = series(TURN, footprints=(replace(ON_CUDA, device_resident=0),))
    assert values("resident_memory", found) == [0.0]


def test_what_a_device_holds_in_all_is_absent_where_it_is_not_known():
    found = series(TURN, footprints=(replace(ON_CUDA, device_used=None), ON_CUDA))
    assert values("device_memory", found) == []


def test_memory_that_was_not_measured_is_absent():
    for name in ("resident_memory", "peak_memory", "device_memory"):
        assert values(name, series(TURN)) == []


def test_energy_per_correct_answer_needs_more_than_a_series():
    assert values(CORRECT_ANSWER, series(TURN, idle=IDLE)) == []
